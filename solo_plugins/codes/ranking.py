# SPDX-License-Identifier: MIT
"""The values of each row of a sparse matrix, in the order of weights."""

__all__ = ["Ranked", "rank", "sort_rows"]

from typing import NamedTuple

import numpy as np
import scipy.sparse


class Ranked(NamedTuple):
    """The first values of each row, and the columns in which they stand.

    Args:
        places: columns (R, k), -1 where a row has fewer values.
        values: what stands there (R, k), 0 where a row has fewer.
    """

    places: np.ndarray
    values: np.ndarray


def sort_rows(rows: scipy.sparse.csr_matrix, *weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sort the values of each row by weights, the largest first.

    Args:
        rows: values (R, D).
        weights: one for each value in the matrix; of equal ones the next weights decide, and at
            last the lower column.

    Returns:
        For each value the one in `rows.data` that comes to its place, and its place in its row.
    """
    counts = np.diff(rows.indptr)
    row = np.repeat(np.arange(rows.shape[0]), counts)
    order = np.lexsort((rows.indices, *(-weight for weight in reversed(weights)), row))
    return order, np.arange(len(order)) - np.repeat(rows.indptr[:-1], counts)


def rank(rows: scipy.sparse.csr_matrix, k: int, *weights: np.ndarray) -> Ranked:
    """Take the first values of each row, see :func:`sort_rows`.

    Args:
        rows: values (R, D).
        k: how many, positive.
        weights: as there; without any, the lower columns come first.

    Returns:
        Them, in order.

    Example:
        >>> rows = scipy.sparse.csr_matrix([[3.0, 0.0, 4.0], [0.0, 0.0, 1.0]])
        >>> rank(rows, 2, rows.data)
        Ranked(places=array([[ 2,  0],
               [ 2, -1]]), values=array([[4., 3.],
               [1., 0.]]))
    """
    order, place = sort_rows(rows, *weights)
    row = np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))
    places = np.full((rows.shape[0], k), -1)
    values = np.zeros((rows.shape[0], k), rows.dtype)
    first = place < k
    places[row[first], place[first]] = rows.indices[order[first]]
    values[row[first], place[first]] = rows.data[order[first]]
    return Ranked(places, values)
