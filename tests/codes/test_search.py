# SPDX-License-Identifier: MIT
"""Neighbours by sparse products, against scikit-learn's."""

import numpy as np
import pytest
import scipy.sparse
from sklearn.neighbors import NearestNeighbors

from solo_plugins.codes.search import keep_largest, nearest
from solo_plugins.errors import ConfigurationError


def _codes(rows: int, dim: int = 24, seed: int = 0) -> scipy.sparse.csr_matrix:
    rng = np.random.default_rng(seed)
    kept = np.where(rng.random((rows, dim)) < 0.2, rng.random((rows, dim)), 0)
    return scipy.sparse.csr_matrix(kept.astype(np.float32))


def _judge(rows: np.ndarray, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    judge = NearestNeighbors(metric="cosine", algorithm="brute").fit(rows)
    return judge.kneighbors(queries, k)


@pytest.mark.parametrize("sparse", [True, False], ids=["sparse", "dense"])
@pytest.mark.parametrize("k", [1, 5, 200])
@pytest.mark.parametrize("at_once", [1, 10**6])
def test_neighbours_are_scikit_learns(
    k: int, sparse: bool, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("solo_plugins.codes.search._AT_ONCE", at_once)
    rows, queries = _codes(200), _codes(30, seed=1)
    queries = queries[np.diff(queries.indptr) > 0]
    if not sparse:
        rows, queries = rows.toarray(), queries.toarray()
    found = nearest(rows, queries, k)
    distance, index = _judge(rows, queries, k)
    np.testing.assert_allclose(found.similarity, 1 - distance, atol=1e-5)  # float32
    if k == 5:
        apart = np.diff(distance, axis=1).min(axis=1) > 1e-5
        assert apart.mean() > 0.5
        np.testing.assert_array_equal(found.places[apart][:, :-1], index[apart][:, :-1])


def test_of_equal_neighbours_the_first_ones_are_found() -> None:
    rows = scipy.sparse.csr_matrix(np.ones((6, 2)))
    assert nearest(rows, rows[:1], 3).places.tolist() == [[0, 1, 2]]


def test_a_query_without_an_active_output_has_no_neighbour() -> None:
    found = nearest(_codes(9), scipy.sparse.csr_matrix((1, 24), dtype=np.float32), 2)
    assert (found.places.tolist(), found.similarity.tolist()) == ([[-1, -1]], [[0, 0]])


@pytest.mark.parametrize("m", [1, 3, 24])
def test_the_largest_outputs_are_kept(m: int) -> None:
    codes = _codes(50)
    dense = codes.toarray()
    wanted = dense.copy()
    np.put_along_axis(wanted, np.argsort(-dense, axis=1, kind="stable")[:, m:], 0, axis=1)
    kept = keep_largest(codes, m)
    np.testing.assert_array_equal(kept.toarray(), wanted)
    assert kept.nnz == np.count_nonzero(wanted)


@pytest.mark.parametrize("m", [0, 25])
def test_a_cut_that_cannot_be_is_an_error(m: int) -> None:
    with pytest.raises(ConfigurationError, match=rf"`m` to be from 1 to 24.* but got {m}"):
        keep_largest(_codes(3), m)


@pytest.mark.parametrize(
    ("k", "dim", "match"), [(0, 24, "`k` to be from 1 to 9"), (10, 24, "got 10"), (1, 7, "got 7")]
)
def test_a_search_that_cannot_be_is_an_error(k: int, dim: int, match: str) -> None:
    with pytest.raises(ConfigurationError, match=match):
        nearest(_codes(9), _codes(2, dim), k)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("where", ["embeddings", "queries"])
def test_numbers_that_are_not_finite_are_one_line(bad: float, sparse: bool, where: str) -> None:
    kind = scipy.sparse.csr_matrix if sparse else np.asarray
    rows, damaged = np.eye(3, dtype=np.float32), np.eye(3, dtype=np.float32)
    damaged[1, 2] = bad
    given = (damaged, rows) if where == "embeddings" else (rows, damaged)
    with pytest.raises(ConfigurationError, match=f"Expected .*{where} to be finite but"):
        nearest(*map(kind, given), 1)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0)])
def test_embeddings_of_nothing_are_one_line(shape: tuple[int, int]) -> None:
    with pytest.raises(ConfigurationError, match="rows of numbers but got"):
        nearest(scipy.sparse.csr_matrix(shape), scipy.sparse.csr_matrix((1, 3)), 1)


@pytest.mark.parametrize("scale", [3e38, 1e-30, 1.0])
@pytest.mark.parametrize("sparse", [False, True])
def test_cosines_do_not_depend_on_the_size_of_numbers(scale: float, sparse: bool) -> None:
    kind = scipy.sparse.csr_matrix if sparse else np.asarray
    rows = np.array([[1.0, 0.0], [0.5, 0.5], [0.0, 0.25]], dtype=np.float32)
    found = nearest(kind(rows * np.float32(scale)), kind(rows[:1]), 3)
    assert found.places.tolist() == [[0, 1, 2]]
    assert found.similarity[0] == pytest.approx([1, 2**-0.5, 0], abs=1e-6)
