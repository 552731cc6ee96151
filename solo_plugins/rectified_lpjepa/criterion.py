# SPDX-License-Identifier: MIT
"""The loss of Rectified LpJEPA and what controls its target, without a framework."""

__all__ = ["Criterion"]

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from solo_plugins.pairs import mean_over_pairs
from solo_plugins.rectified_lpjepa.activation import ThresholdedReLU
from solo_plugins.rectified_lpjepa.control import SparsityController
from solo_plugins.rectified_lpjepa.directions import DIRECTIONS
from solo_plugins.rectified_lpjepa.processes import mean_over_processes
from solo_plugins.rectified_lpjepa.rdmreg import RDMReg
from solo_plugins.rectified_lpjepa.settings import Settings


class Criterion(nn.Module):
    r"""Invariance and RDMReg, weighted, against a target that may move during training.

    Args:
        settings: the method's settings.

    Example:
        >>> criterion = Criterion(Settings(proj_hidden_dim=8, proj_output_dim=8))
        >>> loss, terms = criterion([torch.rand(16, 8), torch.rand(16, 8)])
        >>> loss.shape, sorted(terms)
        (torch.Size([]), ['invariance', 'rdm_reg'])

    References:
        Rectified LpJEPA, https://arxiv.org/abs/2602.01456, equation 13.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        target = settings.target()
        self.target_l0 = float(target.active_probability)  # type: ignore[attr-defined]
        self.controller = self._controller()
        self._aim: float | None = None
        self.rdm_reg = RDMReg(
            target,
            DIRECTIONS[settings.projection_vectors_type](settings.num_projections),
            share_target=settings.share_target,
            coordinate_weight=settings.coordinate_weight,
            target_draws=settings.target_draws,
        )

    def forward(
        self,
        views: Sequence[Tensor],
        *,
        num_large: int | None = None,
        progress: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the loss from the outputs of all views.

        Args:
            views: outputs (N, D) for each crop, large ones first.
            num_large: how many views are large crops; all by default.
            progress: the part of training that is done, from 0 to 1; counts if the target moves.
            generator: where directions and target samples come from, as for :class:`RDMReg`.

        Returns:
            The loss, and its unweighted terms ``invariance`` and ``rdm_reg``.
        """
        if self.controller is not None:
            self._follow(self.controller.aim(progress))
        num_large = len(views) if num_large is None else num_large
        invariance = mean_over_pairs(_distance, views, num_large)
        rdm_reg = self.rdm_reg(views, generator=generator)
        loss = (
            self.settings.invariance_loss_weight * invariance
            + self.settings.rdm_reg_loss_weight * rdm_reg
        )
        return loss, {"invariance": invariance, "rdm_reg": rdm_reg}

    @torch.no_grad()
    def control(self, z: Tensor, projector: nn.Module, *, progress: float = 1.0) -> None:
        """Let what controls the share of active outputs learn from a step; a no-op without any.

        Args:
            z: outputs (N, D) of the large crops.
            projector: what gave them; its thresholds are moved, if it has any.
            progress: the part of training that is done, from 0 to 1.
        """
        if self.controller is None:
            return
        wanted, settings = self.controller.wanted(progress), self.settings
        if settings.threshold_rate:
            for module in projector.modules():
                if isinstance(module, ThresholdedReLU):
                    module.adjust(z, wanted, settings.threshold_rate)
        if settings.mean_shift_rate:
            self.controller.update(mean_over_processes((z != 0).float().mean()), progress)

    def describe(self, progress: float) -> dict[str, float]:
        """Describe the state of what controls.

        Args:
            progress: the part of training that is done, from 0 to 1.

        Returns:
            The shares ``wanted_l0`` of the network and ``aimed_l0`` of the target; nothing if
            nothing moves.
        """
        if self.controller is None:
            return {}
        return {
            "wanted_l0": self.controller.wanted(progress),
            "aimed_l0": self.controller.aim(progress),
        }

    def _follow(self, aim: float) -> None:
        if aim != self._aim:
            self._aim, self.rdm_reg.target = aim, self.settings.target(aim)

    def _controller(self) -> SparsityController | None:
        settings = self.settings
        if not settings.controlled:
            return None
        return SparsityController(
            self.target_l0, warmup=settings.sparsity_warmup, rate=settings.mean_shift_rate
        )


def _distance(first: Tensor, second: Tensor) -> Tensor:
    return F.mse_loss(first.float(), second.float())
