# SPDX-License-Identifier: MIT
"""The interface of a distribution that outputs can be matched to."""

__all__ = ["Quantiles", "Target"]

from typing import Any, Protocol

import torch
from torch import Tensor


class Quantiles(Protocol):
    """A distribution whose quantile function is known."""

    def icdf(self, value: Tensor) -> Tensor:
        """Compute the quantiles of probabilities of any shape."""


class Target(Quantiles, Protocol):
    """The distribution that each output is matched to, of an empty batch shape.

    One whose class says in its own body that it ``can_be_recorded`` asks a GPU for no value when it
    draws: see :class:`~solo_plugins.RDMReg`.
    """

    @property
    def active_probability(self) -> Tensor:
        """The probability that a draw is not zero, a scalar."""

    @property
    def mean(self) -> Tensor:
        """The mean, a scalar."""

    @property
    def variance(self) -> Tensor:
        """The variance, a scalar."""

    def sample(
        self,
        sample_shape: Any = (),
        *,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """Draw samples of a shape, without a gradient."""
