# SPDX-License-Identifier: MIT
"""The weighted vote of nearest neighbours, and solo-learn's online classifier built on it."""

__all__ = ["DISTANCES", "WeightedKNNClassifier", "hits", "nearest_neighbours", "vote"]

from typing import Any

import torch
from solo.utils.knn import WeightedKNNClassifier as SoloKNN
from torch import Tensor
from torch.nn.functional import normalize
from torchmetrics import Metric

DISTANCES = ("cosine", "euclidean")


def nearest_neighbours(test: Tensor, train: Tensor, k: int, distance: str) -> tuple[Tensor, Tensor]:
    """Find the k nearest training features of each test feature, nearest first.

    Args:
        test: features (N, D), normalised for the cosine.
        train: features (M, D), normalised for the cosine.
        k: at most M.
        distance: ``cosine`` or ``euclidean``.

    Returns:
        Cosines, or distances, (N, k) and indexes (N, k).
    """
    if distance == "cosine":
        nearness, index = (test @ train.T).topk(k)
    else:
        nearness, index = torch.cdist(test, train).topk(k, largest=False)
    return nearness, index


def vote(
    nearness: Tensor,
    labels: Tensor,
    num_classes: int,
    *,
    temperature: float | None,
    epsilon: float = 1e-5,
) -> Tensor:
    r"""Let neighbours vote for their classes.

    A vote weighs :math:`e^{c / T}` for a cosine c, up to a factor that all votes on a sample share,
    and :math:`1 / (d + \epsilon)` for a distance d, as in solo-learn.

    Args:
        nearness: cosines or distances (N, k), nearest first.
        labels: the neighbours' classes (N, k).
        num_classes: the number of classes.
        temperature: T; None if `nearness` are distances.
        epsilon: keeps the weight of a copy finite.

    Returns:
        The sum of votes for each class (N, num_classes).

    Example:
        >>> vote(torch.tensor([[1.0, 2.0, 2.0]]), torch.tensor([[0, 1, 1]]), 2, temperature=None)
        tensor([[1.0000, 1.0000]])
    """
    if temperature is None:
        weights = 1 / (nearness + epsilon)
    else:
        weights = ((nearness - nearness[:, :1]) / temperature).exp()  # so that none overflows
    votes = weights.new_zeros(len(labels), num_classes)
    return votes.scatter_add_(1, labels, weights)


def hits(votes: Tensor, targets: Tensor) -> tuple[int, int]:
    """Count the samples whose class is first, and among the first five, by votes.

    A class without a vote is never counted, as it is in solo-learn, where the first five of fewer
    classes are filled up with arbitrary ones.

    Args:
        votes: the sum of votes for each class (N, num_classes).
        targets: the true classes (N,).

    Returns:
        Two counts.

    Example:
        >>> hits(torch.tensor([[0.0, 2.0, 1.0], [0.0, 2.0, 1.0]]), torch.tensor([2, 0]))
        (0, 1)
    """
    top, classes = votes.topk(min(5, votes.size(1)))
    found = (classes == targets[:, None]) & (top > 0)
    return int(found[:, 0].sum()), int(found.sum())


class _TakesComputeOnStep(Metric):
    """A Metric that takes, and ignores, an argument which torchmetrics has dropped."""

    full_state_update = False

    def __init__(self, compute_on_step: bool | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)


class WeightedKNNClassifier(SoloKNN, _TakesComputeOnStep):
    """solo-learn's classifier of the same name, made to work.

    Both releases pass ``compute_on_step`` to torchmetrics, which no longer takes it, and count the
    classes in the *test* targets, so that a class which only the training set has is an index
    error; 1.0.2 does not normalise for the cosine. Arguments, states and weights stay theirs.
    """

    def forward(self, *args: Any, **kwargs: Any) -> None:
        """Add features and targets and compute nothing, which torchmetrics' own would.

        Args:
            *args: as ``update``.
            **kwargs: as ``update``.
        """
        self.update(*args, **kwargs)

    @torch.no_grad()
    def compute(self) -> tuple[float, float]:
        """Let the k nearest training features vote for each test feature, then forget all.

        Returns:
            Top-1 and top-5 accuracy in percent, or (-1, -1) if there are no features.
        """
        if not len(self.train_features) or not len(self.test_features):
            return -1.0, -1.0
        features, targets = _cat(self.train_features).float(), _cat(self.train_targets)
        if self.distance_fx == "cosine":
            features = normalize(features)
        rows = max(1, self.max_distance_matrix_size // len(features))
        top1 = top5 = total = 0
        for test, labels in zip(
            _cat(self.test_features).float().split(rows),
            _cat(self.test_targets).split(rows),
            strict=True,
        ):
            first, five = hits(self._votes(test, features, targets), labels)
            top1, top5, total = top1 + first, top5 + five, total + len(labels)
        self.reset()
        return 100.0 * top1 / total, 100.0 * top5 / total

    def _votes(self, test: Tensor, features: Tensor, targets: Tensor) -> Tensor:
        k, cosine = min(self.k, len(features)), self.distance_fx == "cosine"
        test = normalize(test) if cosine else test
        nearness, index = nearest_neighbours(test, features, k, self.distance_fx)
        settings = {"temperature": self.T if cosine else None, "epsilon": self.epsilon}
        return vote(nearness, targets[index], int(targets.max()) + 1, **settings)


def _cat(state: Tensor | list[Tensor]) -> Tensor:
    return state if isinstance(state, Tensor) else torch.cat(state)
