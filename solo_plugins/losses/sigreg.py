# SPDX-License-Identifier: MIT
"""SIGReg: a sliced test of normality, by characteristic functions."""

__all__ = ["SIGReg", "epps_pulley"]

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from solo_plugins import distributed
from solo_plugins.inputs import check_real
from solo_plugins.losses.directions import RandomDirections
from solo_plugins.losses.sliced_wasserstein import as_views


def epps_pulley(samples: Tensor, *, num_knots: int = 17, max_frequency: float = 3.0) -> Tensor:
    r"""Compute the Epps-Pulley statistic of each column against the standard normal.

    .. math:: N \int_{-T}^{T} \Bigl| \frac1N \sum_n e^{i t x_n} - e^{-t^2/2} \Bigr|^2
        e^{-t^2/2} \, dt

    by the trapezoidal rule; the integrand is even, so that half of the knots is enough. With
    `torch.distributed` initialised, the samples of all processes are one: the value is the same on
    all, and gradients that are averaged over processes are those of one process.

    Args:
        samples: (..., N, K), N positive; computed in float32 or better.
        num_knots: frequencies in [0, T], at least 2 (LeJEPA: 17).
        max_frequency: T, positive, in units of the inverse samples (LeJEPA: 3).

    Returns:
        Statistics (..., K); about 1.1 for normal samples of any number, of order N for others.

    Raises:
        ValueError: if `num_knots` or `max_frequency` is out of range, or there are no samples.
        TypeError: if `samples` are complex.

    Example:
        >>> x = torch.distributions.Normal(0, 1).icdf(torch.linspace(0.01, 0.99, 99))
        >>> bool(epps_pulley(x.unsqueeze(1)) < 0.1 < epps_pulley(3 + x.unsqueeze(1)))
        True

    References:
        LeJEPA, https://arxiv.org/abs/2511.08544; Epps and Pulley, Biometrika 70 (1983).
    """
    if num_knots < 2:
        raise ValueError(f"Expected `num_knots` to be at least 2 but got {num_knots}.")
    if not 0 < max_frequency < math.inf:
        raise ValueError(f"Expected `max_frequency` to be positive but got {max_frequency}.")
    check_real("samples", samples)
    if samples.ndim < 2 or not samples.numel():
        raise ValueError(
            "Expected `samples` to be of shape (..., N, K), none of them 0, but got "
            f"{tuple(samples.shape)}."
        )
    samples = samples.to(torch.promote_types(samples.dtype, torch.float32))
    t = torch.linspace(0, max_frequency, num_knots, dtype=samples.dtype, device=samples.device)
    normal = torch.exp(-t.square() / 2)
    weights = 2 * normal * max_frequency / (num_knots - 1)
    weights[[0, -1]] /= 2
    angles = samples.unsqueeze(-1) * t  # (..., N, K, knots)
    sums = torch.stack((angles.cos().sum(dim=-3), angles.sin().sum(dim=-3)))
    number = samples.size(-2)
    number *= distributed.world_size()
    real, imaginary = distributed.sum_over_processes(sums) / number
    return number * (((real - normal).square() + imaginary.square()) @ weights)


class SIGReg(nn.Module):
    """Sketched isotropic Gaussian regularisation: :func:`epps_pulley` along random directions.

    Averaged over directions and views, in float32 outside autocast.

    Args:
        num_projections: directions per call, positive, shared by the views (LeJEPA: 1024).
        num_knots: as for :func:`epps_pulley`.
        max_frequency: as for :func:`epps_pulley`.

    Raises:
        ValueError: if `num_projections` is not positive.

    Example:
        >>> SIGReg(8)([torch.randn(16, 4), torch.randn(16, 4)]).shape
        torch.Size([])

    References:
        LeJEPA, https://arxiv.org/abs/2511.08544
    """

    def __init__(
        self, num_projections: int = 1024, *, num_knots: int = 17, max_frequency: float = 3.0
    ) -> None:
        super().__init__()
        self.directions = RandomDirections(num_projections)
        self.num_knots = num_knots
        self.max_frequency = max_frequency

    def extra_repr(self) -> str:
        """Describe the settings in one line."""
        return f"{self.directions}, num_knots={self.num_knots}, max_frequency={self.max_frequency}"

    def forward(
        self,
        views: Sequence[Tensor],
        *,
        projections: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Compute the mean statistic.

        Args:
            views: outputs (N, D) of each view.
            projections: unit directions (K, D) to use in place of a draw; with several processes
                the same on all.
            generator: where the draw comes from, on the outputs' device; with several processes
                all must pass one in the same state.

        Returns:
            A scalar.

        Raises:
            ValueError: if the views are of no shape (N, D), or of several.
            TypeError: if they are complex.
        """
        views = as_views(views)
        if projections is None:
            projections = self.directions(views, generator=generator).dense()
        with torch.autocast(views[0].device.type, enabled=False):
            samples = torch.stack(views).float() @ projections.float().T
            return epps_pulley(
                samples, num_knots=self.num_knots, max_frequency=self.max_frequency
            ).mean()
