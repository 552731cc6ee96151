# SPDX-License-Identifier: MIT
"""Rectified LpJEPA as a method of solo-learn."""

__all__ = ["RectifiedLpJEPA"]

from collections.abc import Sequence
from typing import ClassVar

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor
from typing_extensions import override

from solo_plugins.distributions import Target
from solo_plugins.errors import ConfigurationError
from solo_plugins.losses import DIRECTIONS, RDMReg, SingularDirections
from solo_plugins.methods.joint_embedding import JointEmbedding
from solo_plugins.methods.rectified_lpjepa.criterion import Criterion
from solo_plugins.methods.rectified_lpjepa.settings import RectifiedLpJEPASettings
from solo_plugins.runs.description import Description, TargetDescription


class RectifiedLpJEPA(JointEmbedding):
    r"""Sparse, non-negative representations by distribution matching.

    With :math:`z_v` (N, D) the projector's outputs for view v, the loss is

    .. math:: \lambda_{inv} \, \mathrm{mean}_{v, w} \lVert z_v - z_w \rVert^2 / (N D)
        + \lambda_{reg} \, \mathrm{mean}_v \, \mathrm{RDMReg}(z_v)

    over all pairs of views of which at least one is a large crop, and over all views. Small crops
    are pulled and regularised like large ones. The regulariser runs in float32 on the batch of all
    processes. The target and the projector's thresholds move during training if settings that
    control the active fraction are on.

    Args:
        cfg: solo-learn's configuration; ``method_kwargs`` are those of
            :class:`~solo_plugins.RectifiedLpJEPASettings`.

    Raises:
        ConfigurationError: if a setting cannot work.

    References:
        Rectified LpJEPA, https://arxiv.org/abs/2602.01456
    """

    settings_class: ClassVar[type[RectifiedLpJEPASettings]] = RectifiedLpJEPASettings
    settings: RectifiedLpJEPASettings
    loss_name = "rectified_lp_jepa_loss"

    def __init__(self, cfg: DictConfig) -> None:
        super().__init__(cfg)
        self.criterion = Criterion(self.settings)
        self.target_l0 = self.criterion.target_l0
        self._steps: float | None = None

    @property
    def rdm_reg(self) -> RDMReg:
        """The regulariser."""
        return self.criterion.rdm_reg

    @property
    def target(self) -> Target:
        """The target of one output; it moves during training if it is controlled."""
        return self.criterion.rdm_reg.target

    @property
    def description(self) -> Description:
        """What a report shows of a run: the target, by which runs are told apart."""
        settings = self.settings
        target = TargetDescription(
            p=float(settings.lp_norm_parameter),
            loc=settings.mu,
            scale=settings.sigma,
            rectified=settings.rectified,
            l0=self.criterion.target_l0,
            calibrated=settings.threshold_rate > 0,
            scale_rule=settings.mode_of_sigma,
        )
        return Description.with_target(f"train_{self.loss_name}", target)

    def target_summary(self) -> str:
        """Describe the target in one line, in closed form."""
        settings, target = self.settings, self.settings.target()
        return (
            f"Target: p={settings.lp_norm_parameter:g}, mu={settings.mu:.4g}, "
            f"sigma={settings.sigma:.4g}: {_percent(settings.active_fraction)} % active "
            f"outputs, mean {float(target.mean):.4g}, variance {float(target.variance):.4g}"
        )

    @classmethod
    @override
    def add_and_assert_specific_cfg(cls, cfg: DictConfig) -> DictConfig:
        cfg = super().add_and_assert_specific_cfg(cfg)
        _check_directions(cls.settings_class(**cfg.method_kwargs), cfg)
        return cfg

    @override
    def objective(
        self, views: Sequence[Tensor], batch_idx: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        progress, num_large = self._progress(), self.num_large_crops
        loss, terms = self.criterion(
            views,
            num_large=num_large,
            progress=progress,
            generator=self.step_generator(batch_idx),
        )
        if self.settings.controlled:
            self.criterion.control(
                torch.cat(list(views[:num_large])), self.projector, progress=progress
            )
            if self.measures_sparsity():
                self.log("train_scheduled_l0", self.criterion.active_fraction(progress))
        return loss, terms

    def _progress(self) -> float:
        """The part of training that is done; all of it outside a trainer."""
        if self._trainer is None or not self.settings.sparsity_warmup:
            return 1.0
        if self._steps is None:  # to count them builds loaders
            self._steps = float(self.trainer.estimated_stepping_batches)
        return min(1.0, self.global_step / self._steps)


def _check_directions(settings: RectifiedLpJEPASettings, cfg: DictConfig) -> None:
    devices = OmegaConf.select(cfg, "devices", default=1)
    world = (devices if isinstance(devices, int) else len(devices)) * OmegaConf.select(
        cfg, "num_nodes", default=1
    )
    if settings.num_projections < world:
        raise ConfigurationError(
            "Expected `method_kwargs.num_projections` to be at least the number of processes, "
            f"`devices` x `num_nodes` = {world}, each of which takes its share of them, but got "
            f"{settings.num_projections}."
        )
    directions = DIRECTIONS[settings.projection_vectors_type](settings.num_projections)
    if not isinstance(directions, SingularDirections):
        return
    needed = directions.num_singular(
        cfg.optimizer.batch_size * max(1, world), settings.proj_output_dim
    )
    if needed > settings.num_projections:
        raise ConfigurationError(
            "Expected `method_kwargs.num_projections` to be at least the number of singular "
            f"directions, {needed} at this batch size and `proj_output_dim`, but got "
            f"{settings.num_projections}."
        )


def _percent(fraction: float) -> str:
    """Write a fraction in percent, with as many digits as tell it from 1."""
    percent = f"{100 * fraction:.3g}"
    return f"{100 * fraction:.14g}" if percent == "100" and fraction < 1 else percent
