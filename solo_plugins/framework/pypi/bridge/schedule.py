# SPDX-License-Identifier: MIT
"""solo-learn's schedules. Groups with a true `static_lr` keep their rate."""

__all__ = ["CosineAnnealingLR", "LinearWarmupCosineAnnealingLR", "MultiStepLR"]

import math

from torch.optim import Optimizer, lr_scheduler
from torch.optim.lr_scheduler import LRScheduler
from typing_extensions import override


class _NotStatic(LRScheduler):
    """A mixin of a schedule by which static groups keep their rate."""

    @override
    def get_lr(self) -> list[float]:
        return _leave_out_static(self, super().get_lr())


class MultiStepLR(_NotStatic, lr_scheduler.MultiStepLR):
    """torch's schedule of this name, in which static groups keep their rate."""


class CosineAnnealingLR(_NotStatic, lr_scheduler.CosineAnnealingLR):
    """torch's schedule of this name, in which static groups keep their rate."""


class LinearWarmupCosineAnnealingLR(LRScheduler):
    r"""Raise the learning rate linearly, then lower it along a half cosine.

    With :math:`t` the number of steps so far, :math:`W` warm-up steps of :math:`T` and base rate
    :math:`b`: :math:`s + t (b - s) / (W - 1)` while :math:`t < W`, from then on
    :math:`m + (b - m) (1 + \cos(\pi (t - W) / (T - W))) / 2`. It is written in closed form, so that
    a resumed run has the same rates to the last bit.

    Args:
        optimizer: the optimizer whose groups are scheduled.
        warmup_epochs: :math:`W`, in calls of ``step()``; a fraction is allowed.
        max_epochs: :math:`T`, in calls of ``step()``.
        warmup_start_lr: :math:`s`, where the warm-up starts.
        eta_min: :math:`m`, where the cosine ends.
        last_epoch: the index of the last step when resuming by hand.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.zeros(1))
        >>> optimizer = torch.optim.SGD([weight], lr=1.0)
        >>> schedule = LinearWarmupCosineAnnealingLR(optimizer, warmup_epochs=2, max_epochs=4)
        >>> rates = []
        >>> for _ in range(4):
        ...     rates.append(round(optimizer.param_groups[0]["lr"], 3))
        ...     optimizer.step()
        ...     schedule.step()
        >>> rates
        [0.0, 1.0, 1.0, 0.5]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        warmup_epochs: float,
        max_epochs: float,
        warmup_start_lr: float = 0.0,
        eta_min: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        self.warmup_epochs = warmup_epochs
        self.max_epochs = max_epochs
        self.warmup_start_lr = warmup_start_lr
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    @override
    def get_lr(self) -> list[float]:
        return _leave_out_static(self, [self._scheduled(base) for base in self.base_lrs])

    def _scheduled(self, base: float) -> float:
        step, warmup = self.last_epoch, self.warmup_epochs
        if step < warmup:
            return self.warmup_start_lr + step * (base - self.warmup_start_lr) / max(warmup - 1, 1)
        progress = (step - warmup) / max(self.max_epochs - warmup, 1)
        return self.eta_min + (base - self.eta_min) * (1 + math.cos(math.pi * progress)) / 2


def _leave_out_static(schedule: LRScheduler, rates: list[float]) -> list[float]:
    """Give groups with a true ``static_lr`` their base rate.

    As on main, where the first ``step()`` puts that right: the very first rate is the schedule's.
    """
    if schedule.last_epoch == 0:
        return rates
    return [
        group["initial_lr"] if group.get("static_lr") else rate
        for group, rate in zip(schedule.optimizer.param_groups, rates, strict=True)
    ]
