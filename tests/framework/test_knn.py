# SPDX-License-Identifier: MIT
"""The online kNN against scikit-learn's."""

from collections.abc import Callable

import pytest
import torch

from solo_plugins.framework import WeightedKNNClassifier

K = 11


@pytest.mark.parametrize(("distance", "temperature"), [("euclidean", None), ("cosine", 0.07)])
@pytest.mark.parametrize("limit", [int(5e6), 5000])
def test_accuracy_is_scikit_learns(
    distance: str,
    temperature: float | None,  # solo-learn's
    limit: int,
    digit_pixels: tuple,
    scikit_learns_knn: Callable,
) -> None:
    (train, labels), (test, targets) = digit_pixels
    knn = WeightedKNNClassifier(k=K, distance_fx=distance, max_distance_matrix_size=limit)
    for part, part_labels in zip(train.split(500), labels.split(500), strict=True):
        knn(train_features=part, train_targets=part_labels)
    knn(test_features=test, test_targets=targets)
    top1, top5 = knn.compute()
    # ties between weighted votes may fall either way
    wanted = scikit_learns_knn(K, temperature, distance)
    assert top1 == pytest.approx(wanted, abs=100 / len(test))
    assert top1 < top5 <= 100


def test_classes_may_be_absent_from_the_test_set() -> None:
    knn = WeightedKNNClassifier(k=1, distance_fx="euclidean")
    knn(train_features=torch.eye(3), train_targets=torch.tensor([0, 5, 9]))
    knn(test_features=torch.eye(3)[1:2], test_targets=torch.tensor([5]))
    assert knn.compute() == (100.0, 100.0)


def test_features_are_forgotten_after_compute() -> None:
    knn = WeightedKNNClassifier(k=1, distance_fx="cosine")
    knn(train_features=torch.eye(2), train_targets=torch.tensor([0, 1]))
    knn(test_features=torch.eye(2), test_targets=torch.tensor([0, 0]))
    assert knn.compute() == (50.0, 50.0)
    assert not knn.train_features
    assert not knn.test_features
