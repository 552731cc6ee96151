# SPDX-License-Identifier: MIT
"""The online kNN against scikit-learn's."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier

from solo_plugins.framework import WeightedKNNClassifier

K = 11


def _digits() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    images, targets = load_digits(return_X_y=True)
    features, targets = torch.tensor(images).float(), torch.tensor(targets)
    return features[:1200], targets[:1200], features[1200:], targets[1200:]


def _ours(distance: str, limit: int = int(5e6)) -> tuple[float, float]:
    train, train_targets, test, test_targets = _digits()
    knn = WeightedKNNClassifier(k=K, distance_fx=distance, max_distance_matrix_size=limit)
    for part, labels in zip(train.split(500), train_targets.split(500), strict=True):
        knn(train_features=part, train_targets=labels)
    knn(test_features=test, test_targets=test_targets)
    return knn.compute()


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
@pytest.mark.parametrize("limit", [int(5e6), 5000])
def test_accuracy_is_scikit_learns(distance: str, limit: int) -> None:
    train, train_targets, test, test_targets = _digits()
    weights = {
        "euclidean": lambda d: 1 / (d + 1e-5),
        "cosine": lambda d: np.exp((1 - d) / 0.07),  # solo-learn's temperature
    }[distance]
    judge = KNeighborsClassifier(K, metric=distance, weights=weights, algorithm="brute")
    judge.fit(train.numpy(), train_targets.numpy())
    wanted = 100 * judge.score(test.numpy(), test_targets.numpy())
    top1, top5 = _ours(distance, limit)
    # ties between weighted votes may fall either way
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
