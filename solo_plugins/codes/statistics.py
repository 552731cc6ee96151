# SPDX-License-Identifier: MIT
"""What single outputs do over many images: activity, classes, images, neighbours.

All of it comes from sparse codes (N, D) and labels (N,). No dense array of N rows and D columns is
made; what is sorted is taken in blocks.
"""

__all__ = ["Activity", "Preferences", "activity", "coactive", "explain", "preferences", "strongest"]

import itertools
from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

import numpy as np
import scipy.sparse
from scipy.special import xlogy

from solo_plugins.codes.ranking import Ranked, rank

# So many values are sorted, or numbers of a product held, at once: some 128 MiB.
_AT_ONCE = 2**22
Codes: TypeAlias = scipy.sparse.csr_matrix


class Activity(NamedTuple):
    """How often and how much each output is active.

    Args:
        images: the number of images in which it is active (D,).
        fraction: that number over the number of all images (D,).
        mean: its mean over all images (D,).
        largest: its largest value (D,), of those that are not zero; 0 if there are none.
    """

    images: np.ndarray
    fraction: np.ndarray
    mean: np.ndarray
    largest: np.ndarray


class Preferences(NamedTuple):
    """How activity goes with classes, over the images that have a label.

    Args:
        labels: the labels that occur (C,), in order.
        lift: how many times as often as on any image an output is active on images of a class
            (D, C), P(active | class) / P(active); NaN if it is never active.
        fraction: the fraction of the class's images in which it is active (D, C).
        information: mutual information of activity and label in bits (D,), from 0 to 1.
    """

    labels: np.ndarray
    lift: np.ndarray
    fraction: np.ndarray
    information: np.ndarray


def activity(codes: Codes) -> Activity:
    """Count and average.

    Args:
        codes: rows (N, D) without stored zeros, N positive.

    Returns:
        What was found for each output.

    Example:
        >>> activity(scipy.sparse.csr_matrix([[2.0, 0.0], [4.0, 0.0]])).mean
        array([3., 0.])
    """
    images = np.bincount(codes.indices, minlength=codes.shape[1])
    total = np.bincount(codes.indices, codes.data, minlength=codes.shape[1])
    largest = np.full(codes.shape[1], -np.inf)
    np.maximum.at(largest, codes.indices, codes.data)
    return Activity(
        images,
        images / codes.shape[0],
        total / codes.shape[0],
        np.where(images > 0, largest, 0),
    )


def preferences(codes: Codes, labels: np.ndarray) -> Preferences:
    """Compare activity between classes.

    Args:
        codes: rows (N, D) without stored zeros.
        labels: classes (N,); images with a negative one are left out.

    Returns:
        What was found; without any label there are no classes, and the information is 0.

    Example:
        >>> codes = scipy.sparse.csr_matrix([[1.0, 1.0], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
        >>> found = preferences(codes, np.array([3, 3, 7, 7]))
        >>> found.lift.tolist(), found.information.tolist()
        ([[2.0, 0.0], [1.0, 1.0]], [1.0, 0.0])
    """
    kept = labels >= 0
    known, place = np.unique(labels[kept], return_inverse=True)
    count, (total, dim) = len(known), (int(kept.sum()), codes.shape[1])
    if not count:
        none = np.empty((dim, 0))
        return Preferences(known, none, none, np.zeros(dim))
    of_class = scipy.sparse.csr_matrix(
        (np.ones(total, np.int64), (place, np.arange(total))), (count, total)
    )
    on = (of_class @ _ones(codes if kept.all() else codes[kept])).toarray().T
    sizes = np.bincount(place, minlength=count)
    ever = on.sum(axis=1, keepdims=True)
    fraction = on / sizes
    with np.errstate(invalid="ignore"):  # an output that is never active has no lift
        lift = fraction / (ever / total)
    # of the joint distribution of activity and class: log of p(a, c) / (p(a) p(c))
    pairs = ((on, ever), (sizes - on, total - ever))
    terms = [xlogy(joint, joint * total / (sizes * np.maximum(alone, 1))) for joint, alone in pairs]
    information = sum(term.sum(axis=1) for term in terms) / (total * np.log(2))
    return Preferences(known, lift, fraction, np.maximum(information, 0))


def strongest(codes: Codes, k: int) -> Ranked:
    """Find the images in which each output is largest in magnitude.

    Args:
        codes: rows (N, D) without stored zeros.
        k: how many of each, positive.

    Returns:
        Rows and values (D, k); of equal values the first rows.
    """
    parts = [rank(block, k, np.abs(block.data)) for block in _blocks(_columns(codes))]
    return _joined(parts)


def explain(codes: Codes, k: int) -> Iterator[Ranked]:
    """Find the outputs that tell most of each image.

    They are ordered as words are in a search by tf-idf: |value| ln(N / images in which the output
    is active), so that an output which is always active tells nothing. Where that leaves no
    difference, the larger magnitude comes first.

    Args:
        codes: rows (N, D) without stored zeros.
        k: how many of each, positive.

    Yields:
        Outputs and values (n, k) of the next images, N in all.
    """
    images = np.bincount(codes.indices, minlength=codes.shape[1])
    rarity = np.log(codes.shape[0] / np.maximum(images, 1))
    for block in _blocks(codes):
        size = np.abs(block.data)
        yield rank(block, k, size * rarity[block.indices], size)


def coactive(codes: Codes, k: int) -> Ranked:
    """Find the outputs that are active together with each output.

    The measure is Jaccard's: of the images in which at least one of both is active, the fraction in
    which both are.

    Args:
        codes: rows (N, D) without stored zeros.
        k: how many, positive.

    Returns:
        Other outputs and the measure (D, k), without those that are never active together.

    Example:
        >>> coactive(scipy.sparse.csr_matrix([[1.0, 2.0], [0.0, 3.0]]), 1).values
        array([[0.5],
               [0.5]])
    """
    on, dim = _ones(codes), codes.shape[1]
    columns, images = _columns(on), np.bincount(codes.indices, minlength=dim)
    step, parts = max(1, _AT_ONCE // dim), []
    for start in range(0, dim, step):
        both = scipy.sparse.csr_matrix(columns[start : start + step] @ on)
        own = np.repeat(np.arange(start, start + both.shape[0]), np.diff(both.indptr))
        other, found = both.indices, both.data
        nearness = np.where(own == other, 0, found / (images[own] + images[other] - found))
        near = scipy.sparse.csr_matrix((nearness, other, both.indptr), both.shape)
        near.eliminate_zeros()
        parts.append(rank(near, k, near.data))
    return _joined(parts)


def _ones(codes: Codes) -> Codes:
    ones = np.ones(codes.nnz, np.int64)
    return scipy.sparse.csr_matrix((ones, codes.indices, codes.indptr), codes.shape)


def _columns(codes: Codes) -> Codes:
    return scipy.sparse.csr_matrix(codes.T)


def _blocks(rows: Codes) -> Iterator[Codes]:
    """Cut rows into blocks of about `_AT_ONCE` values."""
    edges = np.searchsorted(rows.indptr, np.arange(0, rows.nnz, _AT_ONCE), side="left")
    edges = np.unique([0, *edges, rows.shape[0]])
    for start, stop in itertools.pairwise(edges):
        yield rows[start:stop]


def _joined(parts: list[Ranked]) -> Ranked:
    return Ranked(*map(np.concatenate, zip(*parts, strict=True)))
