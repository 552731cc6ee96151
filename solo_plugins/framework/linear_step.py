# SPDX-License-Identifier: MIT
"""The step of solo-learn's linear model, with two errors of main corrected."""

__all__ = ["LinearStep"]

from collections.abc import Sequence
from typing import Any

from solo.utils.metrics import accuracy_at_k
from torch import Tensor
from torch.nn import functional as F


class LinearStep:
    """A step that smooths labels without mixup too, and handles less than 5 classes.

    Main takes ``loss_func`` for mixed images only, so that its ``label_smoothing`` alone has no
    effect, and asks for the top 5 of any number of classes. The class stands in front of a linear
    model that has ``loss_func`` and ``mixup_func``.
    """

    def shared_step(self, batch: Sequence[Tensor], batch_idx: int) -> dict[str, Any]:
        """Compute what training and validation steps share.

        Args:
            batch: images (N, C, H, W) and targets (N,).
            batch_idx: the number of the batch.

        Returns:
            ``batch_size``, ``loss`` and ``acc1`` and ``acc5`` in percent, unless images were mixed.
        """
        X, targets = batch
        metrics: dict[str, Any] = {"batch_size": len(X)}
        if self.training and self.mixup_func is not None:
            X, targets = self.mixup_func(X, targets)
            return metrics | {"loss": self.loss_func(self(X)["logits"], targets)}
        logits = self(X)["logits"]
        loss = self.loss_func if self.training else F.cross_entropy
        acc1, acc5 = accuracy_at_k(logits, targets, top_k=(1, min(5, logits.size(1))))
        return metrics | {"loss": loss(logits, targets), "acc1": acc1, "acc5": acc5}
