# SPDX-License-Identifier: MIT
"""Nearest neighbours by the cosine of sparse codes, or of dense features."""

__all__ = ["Index", "Neighbours", "keep_largest", "nearest"]

from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
from sklearn.preprocessing import normalize

from solo_plugins.codes.ranking import sort_rows
from solo_plugins.errors import ConfigurationError

# So many similarities are held at once: 64 MiB.
_AT_ONCE = 2**24
Rows = Any  # a scipy.sparse.csr_matrix or an array


class Neighbours(NamedTuple):
    """The nearest rows of each query, nearest first.

    Args:
        places: their numbers (Q, k); -1 for queries without an active output.
        similarity: their cosines (Q, k), 0 there.
    """

    places: np.ndarray
    similarity: np.ndarray


class Index:
    """Rows to be searched, scaled to unit length once and, if sparse, laid out by output.

    Args:
        rows: codes (N, D) as a CSR matrix, or features as an array.

    Raises:
        ConfigurationError: if there are none, or a number in them is not finite.

    Example:
        >>> index = Index(scipy.sparse.csr_matrix([[1.0, 0.0], [1.0, 1.0], [0.0, 2.0]]))
        >>> found = index.search(scipy.sparse.csr_matrix([[0.0, 3.0], [0.0, 0.0]]), 2)
        >>> found.places.tolist(), found.similarity.round(4).tolist()
        ([[2, 1], [-1, -1]], [[1.0, 0.7071], [0.0, 0.0]])
    """

    def __init__(self, rows: Rows) -> None:
        self.shape = rows.shape
        unit = _unit(rows, "the embeddings")
        self._columns = unit.T.tocsr() if scipy.sparse.issparse(unit) else unit.T

    def search(self, queries: Rows, k: int) -> Neighbours:
        """Find the rows whose cosine with each query is largest.

        Args:
            queries: rows (Q, D) of the index's kind.
            k: how many, from 1 to N.

        Returns:
            The neighbours; of equal cosines the lower number comes first.

        Raises:
            ConfigurationError: if `k` or D is another, or a number is not finite.
        """
        num_rows, dim = self.shape
        if not 1 <= k <= num_rows:
            raise ConfigurationError(f"Expected `k` to be from 1 to {num_rows} but got {k}.")
        if queries.shape[1] != dim:
            raise ConfigurationError(
                f"Expected queries of {dim} numbers, as the embeddings', but got "
                f"{queries.shape[1]}."
            )
        if queries.shape[0] == 0:
            return Neighbours(np.empty((0, k), int), np.empty((0, k)))
        unit = _unit(queries, "queries")
        step = max(1, _AT_ONCE // num_rows)
        parts = [self._search(unit[i : i + step], k) for i in range(0, unit.shape[0], step)]
        return Neighbours(*map(np.concatenate, zip(*parts, strict=True)))

    def _search(self, queries: Rows, k: int) -> Neighbours:
        product = queries @ self._columns
        nearness = product.toarray() if scipy.sparse.issparse(product) else product
        index = _largest(nearness, k)
        similarity = np.take_along_axis(nearness, index, axis=1)
        none = np.asarray((queries != 0).sum(axis=1)).ravel() == 0
        index[none], similarity[none] = -1, 0
        return Neighbours(index, similarity)


def _unit(rows: Rows, what: str) -> Rows:
    """Scale rows to unit length, however large their numbers are."""
    if 0 in rows.shape:
        size = " x ".join(map(str, rows.shape))
        raise ConfigurationError(f"Expected {what} to have rows of numbers but got {size}.")
    values = rows.data if scipy.sparse.issparse(rows) else np.asarray(rows)
    if not np.isfinite(values).all():
        raise ConfigurationError(
            f"Expected {what} to be finite but some numbers are NaN or infinite."
        )
    largest = float(np.abs(values).max(initial=0))
    # the square of 2e19 is no float32 any more, and that of 1e-23 is 0
    safe = largest == 0 or 1e-15 < largest < 1e18
    return normalize(rows if safe else rows / largest)


def nearest(rows: Rows, queries: Rows, k: int) -> Neighbours:
    """Find nearest neighbours by the cosine, see :meth:`Index.search`.

    Args:
        rows: codes (N, D) as a CSR matrix, or features as an array.
        queries: rows (Q, D) of the same kind.
        k: how many, from 1 to N.

    Returns:
        The neighbours.
    """
    return Index(rows).search(queries, k)


def keep_largest(codes: scipy.sparse.csr_matrix, m: int) -> scipy.sparse.csr_matrix:
    """Cut each row to its largest values by magnitude.

    Args:
        codes: rows (N, D).
        m: how many are kept, from 1 to D; rows with fewer keep what they have.

    Returns:
        A matrix with at most `m` values in each row; of equal values the first ones stay.

    Raises:
        ConfigurationError: if `m` is out of range.

    Example:
        >>> keep_largest(scipy.sparse.csr_matrix([[3.0, 1.0, 2.0], [0.0, 0.0, 1.0]]), 2).toarray()
        array([[3., 0., 2.],
               [0., 0., 1.]])
    """
    codes = codes.tocsr()
    if not 1 <= m <= codes.shape[1]:
        raise ConfigurationError(
            f"Expected `m` to be from 1 to {codes.shape[1]}, the number of outputs, but got {m}."
        )
    order, place = sort_rows(codes, np.abs(codes.data))
    kept = np.sort(order[place < m])
    pointers = np.concatenate([[0], np.cumsum(np.minimum(np.diff(codes.indptr), m))])
    return scipy.sparse.csr_matrix((codes.data[kept], codes.indices[kept], pointers), codes.shape)


def _largest(values: np.ndarray, k: int) -> np.ndarray:
    """Return the places (Q, k) of each row's largest values, in order, the first of equal ones."""
    places = np.argpartition(-values, k - 1, axis=1)[:, :k]
    edge = np.take_along_axis(values, places, axis=1).min(axis=1, keepdims=True)
    # where more values are as large as the last of them, chance has chosen
    for row in np.nonzero((values >= edge).sum(axis=1) > k)[0]:
        places[row] = np.argsort(-values[row], kind="stable")[:k]
    places.sort(axis=1)
    order = np.argsort(-np.take_along_axis(values, places, axis=1), axis=1, kind="stable")
    return np.take_along_axis(places, order, axis=1)
