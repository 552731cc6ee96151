# SPDX-License-Identifier: MIT
"""Statistics of single outputs, against scikit-learn and pandas on dense codes."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.metrics import mutual_info_score
from sklearn.metrics.pairwise import pairwise_distances

from solo_plugins.codes import statistics
from solo_plugins.codes.statistics import (
    activity,
    coactive,
    explain,
    preferences,
    strongest,
)

DEAD, ALWAYS = 3, 5


@pytest.fixture(scope="module", params=[2**22, 1], ids=["one block", "a block a row"])
def codes(request: pytest.FixtureRequest) -> np.ndarray:
    """Return signed codes (60, 12) with a dead output, an always-on one and an empty row."""
    generator = np.random.default_rng(0)
    dense = generator.standard_normal((60, 12)) * (generator.random((60, 12)) < 0.3)
    dense[7] = 0
    dense[:, DEAD], dense[:, ALWAYS] = 0, generator.random(60) + 0.1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statistics, "_AT_ONCE", request.param)
        yield dense.astype(np.float32)


LABELS = np.random.default_rng(1).integers(-1, 4, 60) * 2  # -2 has no label; 0, 2, 4, 6
LABELLED = LABELS >= 0


def test_activity_is_numpys(codes: np.ndarray) -> None:
    found = activity(scipy.sparse.csr_matrix(codes))
    np.testing.assert_array_equal(found.images, (codes != 0).sum(axis=0))
    np.testing.assert_allclose(found.fraction, (codes != 0).mean(axis=0))
    np.testing.assert_allclose(found.mean, codes.mean(axis=0, dtype=float))
    off = np.where(codes != 0, codes, -np.inf).max(axis=0)
    np.testing.assert_array_equal(found.largest, np.where(np.isinf(off), 0, off))


def test_information_is_scikit_learns(codes: np.ndarray) -> None:
    found = preferences(scipy.sparse.csr_matrix(codes), LABELS)
    on = codes[LABELLED] != 0
    judge = [mutual_info_score(LABELS[LABELLED], column) / np.log(2) for column in on.T]
    np.testing.assert_allclose(found.information, judge, atol=1e-12)
    assert found.information[[DEAD, ALWAYS]].tolist() == [0, 0]


def test_lift_is_that_of_a_table_of_counts(codes: np.ndarray) -> None:
    found = preferences(scipy.sparse.csr_matrix(codes), LABELS)
    frame = pd.DataFrame(codes[LABELLED] != 0)
    by_class = frame.groupby(LABELS[LABELLED]).mean()
    assert found.labels.tolist() == by_class.index.tolist() == [0, 2, 4, 6]
    np.testing.assert_allclose(found.fraction, by_class.T)
    np.testing.assert_allclose(found.lift, (by_class / frame.mean()).T)
    assert np.isnan(found.lift[DEAD]).all()
    np.testing.assert_allclose(found.lift[ALWAYS], 1)


def test_without_labels_there_are_no_classes(codes: np.ndarray) -> None:
    found = preferences(scipy.sparse.csr_matrix(codes), np.full(60, -1))
    assert (found.labels.size, found.lift.shape, found.fraction.shape) == (0, (12, 0), (12, 0))
    assert not found.information.any()


def test_the_strongest_images_are_those_of_a_sorted_column(codes: np.ndarray) -> None:
    found = strongest(scipy.sparse.csr_matrix(codes), 30)
    for output, column in enumerate(codes.T):
        order = np.argsort(-np.abs(column), kind="stable")[: min(30, np.count_nonzero(column))]
        rest = 30 - len(order)
        assert found.places[output].tolist() == [*order, *[-1] * rest]
        assert found.values[output].tolist() == [*column[order], *[0] * rest]


def test_an_image_is_explained_by_its_largest_tf_idf(codes: np.ndarray) -> None:
    parts = explain(scipy.sparse.csr_matrix(codes), 5)
    found = [np.concatenate(part) for part in zip(*parts, strict=True)]
    on = codes != 0
    idf = TfidfTransformer(smooth_idf=False).fit(on[:, on.any(axis=0)]).idf_ - 1
    rarity = np.zeros(12)
    rarity[on.any(axis=0)] = idf
    weight = np.where(on, np.abs(codes) * rarity + 1e-9 * np.abs(codes), -1)
    assert len(found[0]) == 60
    for row, (places, values) in enumerate(zip(*found, strict=True)):
        wanted = [place for place in np.argsort(-weight[row])[:5] if on[row, place]]
        assert places.tolist() == [*wanted, *[-1] * (5 - len(wanted))]
        assert values[: len(wanted)].tolist() == codes[row, wanted].tolist()


def test_neighbours_are_those_of_scikit_learns_jaccard(codes: np.ndarray) -> None:
    found = coactive(scipy.sparse.csr_matrix(codes), 12)
    judge = 1 - pairwise_distances((codes != 0).T, metric="jaccard")
    np.fill_diagonal(judge, 0)
    judge[DEAD], judge[:, DEAD] = 0, 0  # scikit-learn calls two that are never active equal
    for output in range(12):
        order = np.argsort(-judge[output], kind="stable")
        order = order[judge[output][order] > 0]
        assert found.places[output].tolist() == [*order, *[-1] * (12 - len(order))]
        np.testing.assert_allclose(found.values[output][: len(order)], judge[output][order])


def test_a_code_with_nothing_active_has_no_images_and_no_neighbours() -> None:
    nothing = scipy.sparse.csr_matrix((4, 3), dtype=np.float32)
    assert activity(nothing).fraction.tolist() == [0, 0, 0]
    assert (strongest(nothing, 2).places == -1).all()
    assert (coactive(nothing, 2).places == -1).all()
    assert [part.places.tolist() for part in explain(nothing, 2)] == [[[-1, -1]] * 4]
