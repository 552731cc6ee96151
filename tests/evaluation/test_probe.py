# SPDX-License-Identifier: MIT
"""A probe is scikit-learn's logistic regression, whose C is chosen without the test images."""

from collections.abc import Callable

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, balanced_accuracy_score
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from solo_plugins.errors import ConfigurationError
from solo_plugins.evaluation.probe import Labelled, accuracies, probe

GRID = [10.0**power for power in range(-6, 7)]


def _data(count: int, seed: int, weights: np.ndarray | None = None) -> Labelled:
    """Draw overlapping Gaussian classes in 12 dimensions, some of them without a meaning."""
    rng = np.random.default_rng(seed)
    labels = np.sort(rng.choice(3, count, p=weights))
    means = np.random.default_rng(0).normal(size=(3, 12)) * (np.arange(12) < 4)
    features = 50 + 7 * (means[labels] + rng.normal(size=(count, 12)))
    return Labelled(features.astype(np.float32), labels)


def _by_hand(c: float) -> LogisticRegression:
    return make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=1000))


# Images of each class.
FEW = (12, 2, 9)
TRAIN, TEST, VALIDATION = _data(60, 1), _data(300, 2), _data(60, 3)


@pytest.mark.parametrize("join", [False, True])
def test_it_is_scikit_learns_with_the_c_that_a_validation_split_says(join: bool) -> None:
    scores = [_by_hand(c).fit(*TRAIN).score(*VALIDATION) for c in GRID]
    found = probe(TRAIN, TEST, VALIDATION, join=join)
    fit_on = TRAIN
    if join:
        fit_on = Labelled(*(np.concatenate(pair) for pair in zip(TRAIN, VALIDATION, strict=True)))
    # the first of equals is the strongest
    assert found.c == GRID[int(np.argmax(scores))]
    assert found.chosen_by == "validation split"
    assert found.top1 == 100 * _by_hand(found.c).fit(*fit_on).score(*TEST)


def test_without_a_validation_split_folds_of_the_training_images_say_it() -> None:
    # as many as the smallest class has images
    first = np.concatenate([np.flatnonzero(TRAIN.labels == kind)[:n] for kind, n in enumerate(FEW)])
    few = Labelled(TRAIN.features[first], TRAIN.labels[first])
    splits = list(StratifiedKFold(2, shuffle=True, random_state=4).split(*few))

    def score(c: float) -> float:
        return np.mean(
            [
                _by_hand(c)
                .fit(few.features[kept], few.labels[kept])
                .score(few.features[held], few.labels[held])
                for kept, held in splits
            ]
        )

    found = probe(few, TEST, seed=4)
    assert found.c == GRID[int(np.argmax([score(c) for c in GRID]))]
    assert (found.chosen_by, found.accuracy) == ("2 folds", found.top1)


def test_one_image_of_each_class_leaves_nothing_to_choose_by() -> None:
    first = np.unique(TRAIN.labels, return_index=True)[1]
    few = Labelled(TRAIN.features[first], TRAIN.labels[first])
    found = probe(few, TEST)
    assert (found.c, found.chosen_by) == (1.0, "fixed")
    assert found.top1 == 100 * _by_hand(1.0).fit(*few).score(*TEST)


def test_the_test_labels_have_no_say() -> None:
    other = TEST._replace(labels=np.roll(TEST.labels, 100))
    first, second = (probe(TRAIN, test, VALIDATION) for test in (TEST, other))
    assert (first.c, first.iterations) == (second.c, second.iterations)
    assert first.top1 != second.top1


def test_a_large_class_does_not_end_the_search_for_c() -> None:
    # with strong regularisation all C say the large class, and are equal
    weights = np.array([0.9, 0.08, 0.02])
    train, validation = _data(200, 5, weights), _data(200, 6, weights)
    scores = [_by_hand(c).fit(*train).score(*validation) for c in (1e-6, 1e-4, 1e-3, 1.0)]
    assert scores[0] == scores[1] == scores[2] < scores[3]
    found = probe(train, validation, validation)
    assert found.top1 >= 100 * scores[3]


@pytest.mark.parametrize(
    ("place", "judge"),
    [(0, accuracy_score), (1, balanced_accuracy_score)],
    ids=["top-1", "mean-per-class"],
)
def test_accuracies_are_scikit_learns(place: int, judge: Callable) -> None:
    rng = np.random.default_rng(0)
    labels, predicted = rng.choice([0, 2, 5], 50, p=[0.7, 0.2, 0.1]), rng.choice([0, 2, 5], 50)
    assert accuracies(predicted, labels)[place] == pytest.approx(100 * judge(labels, predicted))


def test_the_mean_over_classes_is_reported_where_it_is_asked_for() -> None:
    found = probe(TRAIN, TEST, VALIDATION, per_class=True)
    predicted = _by_hand(found.c).fit(*TRAIN).predict(TEST.features)
    wanted = 100 * balanced_accuracy_score(TEST.labels, predicted)
    assert found.accuracy == found.per_class == pytest.approx(wanted)


def test_one_class_cannot_be_probed() -> None:
    one = Labelled(TRAIN.features, np.zeros(60, int))
    with pytest.raises(ConfigurationError, match="two classes at least but got 60 of one"):
        probe(one, TEST)
