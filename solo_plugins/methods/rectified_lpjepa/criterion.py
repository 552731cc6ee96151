# SPDX-License-Identifier: MIT
"""The loss of Rectified LpJEPA and its sparsity control, without a framework."""

__all__ = ["Criterion"]

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from solo_plugins.inputs import check_one_argument
from solo_plugins.losses import DIRECTIONS, RDMReg, mean_over_pairs
from solo_plugins.methods.rectified_lpjepa.control import scheduled_active_fraction
from solo_plugins.methods.rectified_lpjepa.settings import RectifiedLpJEPASettings
from solo_plugins.modules import ThresholdedReLU


class Criterion(nn.Module):
    r"""Invariance and RDMReg, weighted, against a target that may move during training.

    This is all of the method but the network: a loop of one's own calls it with the outputs of the
    views, and :meth:`control` after each step if thresholds hold the active fraction.

    Args:
        settings: the method's settings.

    Raises:
        TypeError: if they are something else.

    Example:
        >>> criterion = Criterion(RectifiedLpJEPASettings(proj_hidden_dim=8, proj_output_dim=8))
        >>> loss, terms = criterion([torch.rand(16, 8), torch.rand(16, 8)])
        >>> loss.shape, sorted(terms)
        (torch.Size([]), ['invariance', 'rdm_reg'])

    References:
        Rectified LpJEPA, https://arxiv.org/abs/2602.01456, equation 13.
    """

    def __init__(self, settings: RectifiedLpJEPASettings) -> None:
        super().__init__()
        if not isinstance(settings, RectifiedLpJEPASettings):
            raise TypeError(
                "Expected `settings` to be RectifiedLpJEPASettings(...) but got "
                f"{type(settings).__name__}."
            )
        self.settings = settings
        target = settings.target()
        self.target_l0 = settings.active_fraction
        self._active_fraction = self.target_l0
        self.rdm_reg = RDMReg(
            target,
            DIRECTIONS[settings.projection_vectors_type](settings.num_projections),
            share_target=settings.share_target,
            cuda_graph=settings.cuda_graph,
        )

    def forward(
        self,
        views: Sequence[Tensor],
        *others: object,
        num_large: int | None = None,
        progress: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the loss from the outputs of all views.

        Args:
            views: outputs (N, D) for each crop, large ones first.
            others: nothing: views come as one argument.
            num_large: how many views are large crops; all by default.
            progress: the part of training that is done, from 0 to 1; counts if the target moves.
            generator: where directions and target samples come from, as for :class:`RDMReg`.

        Returns:
            The loss, and its unweighted terms ``invariance`` and ``rdm_reg``.

        Warns:
            UserWarning: as :class:`RDMReg`, of negative outputs with a rectified target.

        Raises:
            ValueError: if a view is not (N, D) with D outputs, ``proj_output_dim``, and as many
                rows as the others.
            TypeError: if views come as several arguments, or as no list.
        """
        check_one_argument("criterion", others)
        if not isinstance(views, Tensor | list | tuple):
            raise TypeError(
                f"Expected `views` to be a list of outputs (N, D) but got {type(views).__name__}."
            )
        dim = self.settings.proj_output_dim
        for view in views:
            if view.ndim != 2 or view.size(1) != dim:
                raise ValueError(
                    f"Expected each of `views` to be outputs (N, {dim}) but got one of shape "
                    f"{tuple(view.shape)}; `z.chunk(2)` makes two views of one batch of both."
                )
        if len({len(view) for view in views}) > 1:
            rows = ", ".join(str(len(view)) for view in views)
            raise ValueError(f"Expected all `views` to have as many rows but got {rows}.")
        if (active_fraction := self.active_fraction(progress)) != self._active_fraction:
            self._active_fraction = active_fraction
            self.rdm_reg.target = self.settings.target(active_fraction)
        num_large = len(views) if num_large is None else num_large
        invariance = mean_over_pairs(_distance, views, num_large)
        rdm_reg = self.rdm_reg(views, generator=generator)
        loss = (
            self.settings.invariance_loss_weight * invariance
            + self.settings.rdm_reg_loss_weight * rdm_reg
        )
        return loss, {"invariance": invariance, "rdm_reg": rdm_reg}

    def active_fraction(self, progress: float) -> float:
        """Compute the active fraction that the target has at a point of training.

        Args:
            progress: the part of training that is done, from 0 to 1.

        Returns:
            A fraction in [0, 1], which differs from ``target_l0`` during ``sparsity_warmup`` only.
        """
        warmup = self.settings.sparsity_warmup
        return scheduled_active_fraction(self.target_l0, warmup=warmup, progress=progress)

    def control(self, z: Tensor, projector: nn.Module, *, progress: float = 1.0) -> None:
        """Move the projector's thresholds by the outputs of a step, if ``threshold_rate`` is set.

        Args:
            z: outputs (N, D) of the large crops.
            projector: the projector that gave them.
            progress: the part of training that is done, from 0 to 1.

        Raises:
            ValueError: if no :class:`~solo_plugins.modules.ThresholdedReLU` is in `projector`.
        """
        if not self.settings.threshold_rate:
            return
        rectifiers = [part for part in projector.modules() if isinstance(part, ThresholdedReLU)]
        if not rectifiers:
            raise ValueError(
                "Expected `projector` to end in a ThresholdedReLU, whose thresholds "
                f"`threshold_rate` moves, but got {type(projector).__name__} without one: "
                "`settings.projector(width)` builds one that has them."
            )
        for module in rectifiers:
            module.adjust(z, self.active_fraction(progress), self.settings.threshold_rate)


def _distance(first: Tensor, second: Tensor) -> Tensor:
    return F.mse_loss(first.float(), second.float())
