# SPDX-License-Identifier: MIT
"""solo-learn's online kNN classifier, made to run and to count right on today's stack."""

__all__ = ["repaired_knn"]

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize
from torchmetrics import Metric


class _TakesComputeOnStep(Metric):
    """A Metric that takes, and ignores, an argument which torchmetrics has dropped."""

    full_state_update = False

    def __init__(self, compute_on_step: bool | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)


def repaired_knn(solo_knn: type[Metric]) -> type[Metric]:
    """Derive a working classifier from solo-learn's ``WeightedKNNClassifier``.

    Both releases pass ``compute_on_step`` to torchmetrics, which no longer takes it, and count the
    classes in the *test* targets, so that a class which only the training set has is an index
    error; 1.0.2 does not normalise for the cosine. Settings, states and weights stay theirs.

    Args:
        solo_knn: ``solo.utils.knn.WeightedKNNClassifier`` of either release.

    Returns:
        A subclass of it.
    """

    class WeightedKNNClassifier(solo_knn, _TakesComputeOnStep):  # type: ignore[misc,valid-type]
        __doc__ = solo_knn.__doc__

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
                hits = self._ranked(test, features, targets) == labels[:, None]
                top1 += int(hits[:, :1].sum())
                top5 += int(hits.sum())
                total += len(labels)
            self.reset()
            return 100.0 * top1 / total, 100.0 * top5 / total

        def _ranked(self, test: Tensor, features: Tensor, targets: Tensor) -> Tensor:
            k = min(self.k, len(features))
            if self.distance_fx == "cosine":
                nearest, index = (normalize(test) @ features.T).topk(k)
                weights = (nearest / self.T).exp()
            else:
                nearest, index = torch.cdist(test, features).topk(k, largest=False)
                weights = 1 / (nearest + self.epsilon)
            num_classes = int(targets.max()) + 1
            votes = test.new_zeros(len(test), num_classes).scatter_add_(1, targets[index], weights)
            return votes.topk(min(5, k, num_classes)).indices

    return WeightedKNNClassifier


def _cat(state: Tensor | list[Tensor]) -> Tensor:
    return state if isinstance(state, Tensor) else torch.cat(state)
