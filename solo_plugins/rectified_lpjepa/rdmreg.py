# SPDX-License-Identifier: MIT
"""RDMReg: a sliced two-sample Wasserstein distance between outputs and a target distribution."""

__all__ = ["RDMReg", "coordinate_wasserstein", "sliced_wasserstein"]

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from solo_plugins.rectified_lpjepa import processes
from solo_plugins.rectified_lpjepa.sliced import (
    check_chunk_size,
    coordinate_wasserstein,
    sliced_wasserstein,
    stacked,
)

_Directions = Callable[..., Tensor]


class RDMReg(nn.Module):
    r"""The regulariser: draws directions and target samples and compares.

    With weight w and one target for both, the loss is

    .. math:: (1 - w) \, \mathrm{sliced\_wasserstein} + w \, \mathrm{coordinate\_wasserstein}

    Args:
        target: the distribution of one output, with an empty batch shape.
        directions: a function of the views' outputs that gives unit directions, e.g.
            :class:`~solo_plugins.rectified_lpjepa.directions.RandomDirections`.
        share_target: draw one target sample for all views; by default one for each, as the
            reference implementation does.
        chunk_size: as for :func:`sliced_wasserstein`.
        coordinate_weight: w, between 0 (the paper: no output is sorted by itself) and 1 (directions
            are neither drawn nor used).
        target_draws: R, positive: the sorted target is the mean of R independent draws', all R of
            which are held; 1 in the paper. See :func:`sliced_wasserstein` for what more do.

    Raises:
        ValueError: if `coordinate_weight`, `target_draws` or `chunk_size` is out of its range.

    Example:
        >>> from solo_plugins.rectified_lpjepa.directions import RandomDirections
        >>> from solo_plugins.rectified_lpjepa.distribution import RectifiedGeneralizedGaussian
        >>> rdm_reg = RDMReg(RectifiedGeneralizedGaussian(0.0, 0.7071, 1.0), RandomDirections(256))
        >>> first, second = torch.rand(64, 32), torch.rand(64, 32)
        >>> rdm_reg([first, second]).shape
        torch.Size([])
    """

    def __init__(
        self,
        target: Distribution,
        directions: _Directions,
        *,
        share_target: bool = False,
        chunk_size: int | None = None,
        coordinate_weight: float = 0.0,
        target_draws: int = 1,
    ) -> None:
        super().__init__()
        check_chunk_size(chunk_size)
        if not 0 <= coordinate_weight <= 1:
            raise ValueError(
                f"Expected `coordinate_weight` to be between 0 and 1 but got {coordinate_weight}."
            )
        if target_draws < 1:
            raise ValueError(f"Expected `target_draws` to be positive but got {target_draws}.")
        self.target = target
        self.directions = directions
        self.share_target = share_target
        self.chunk_size = chunk_size
        self.coordinate_weight = coordinate_weight
        self.target_draws = target_draws

    def extra_repr(self) -> str:
        """Describe the settings in one line."""
        return (
            f"{self.target}, {self.directions}, share_target={self.share_target}, "
            f"coordinate_weight={self.coordinate_weight}, target_draws={self.target_draws}"
        )

    def forward(
        self,
        features: Tensor | Sequence[Tensor],
        *,
        target: Tensor | None = None,
        projections: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Compute the mean over views of their distance to the target.

        Args:
            features: outputs (N, D) or (V, N, D), or a sequence of (N, D).
            target: samples to use in place of a draw; see :func:`sliced_wasserstein`.
            projections: directions to use in place of a draw; see :func:`sliced_wasserstein`.
            generator: where the draws come from, on the features' device. With several processes
                all must pass one in the same state; without it they need equal global generators.

        Returns:
            A scalar.
        """
        views, weight = stacked(features), self.coordinate_weight
        if projections is None and weight < 1:
            joined = list(processes.gathered(views))
            projections = self.directions(joined, generator=generator)
        if target is None:
            target = self._draw_target(views, generator)
        if projections is None or weight == 1:
            return coordinate_wasserstein(views, target, chunk_size=self.chunk_size)
        sliced = sliced_wasserstein(views, target, projections, chunk_size=self.chunk_size)
        if weight == 0:
            return sliced
        outputs = coordinate_wasserstein(views, target, chunk_size=self.chunk_size)
        return (1 - weight) * sliced + weight * outputs

    def _draw_target(self, views: Tensor, generator: torch.Generator | None) -> Tensor:
        """Draw (R, V or 1, N, D) one after the other, so that the first do not depend on R."""
        num_views = 1 if self.share_target else views.size(0)
        shape = (num_views, views.size(1) * processes.world_size(), views.size(2))
        draws = [
            self.target.sample(  # type: ignore[call-arg]
                shape, generator=generator, device=views.device
            )
            for _ in range(self.target_draws)
        ]
        return torch.stack(draws) if len(draws) > 1 else draws[0].unsqueeze(0)
