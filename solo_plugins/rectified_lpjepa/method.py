# SPDX-License-Identifier: MIT
"""Rectified LpJEPA as a method of solo-learn."""

__all__ = ["RectifiedLpJEPA"]

from collections.abc import Sequence

from omegaconf import DictConfig, OmegaConf
from torch import Tensor
from torch.nn import functional as F

from solo_plugins.errors import ConfigurationError
from solo_plugins.joint_embedding import JointEmbedding, mean_over_pairs
from solo_plugins.rectified_lpjepa.directions import DIRECTIONS, SingularDirections
from solo_plugins.rectified_lpjepa.rdmreg import RDMReg
from solo_plugins.rectified_lpjepa.settings import Settings


class RectifiedLpJEPA(JointEmbedding):
    r"""Sparse, non-negative representations by distribution matching.

    With :math:`z_v` (N, D) the projector's outputs for view v, the loss is

    .. math:: \lambda_{inv} \, \mathrm{mean}_{v, w} \lVert z_v - z_w \rVert^2 / (N D)
        + \lambda_{reg} \, \mathrm{mean}_v \, \mathrm{RDMReg}(z_v)

    over all pairs of views of which at least one is a large crop, and over all views. Small crops
    are pulled and regularised like large ones. The regulariser runs in float32 on the batch of all
    processes.

    Args:
        cfg: solo-learn's configuration; ``method_kwargs`` are those of
            :class:`~solo_plugins.rectified_lpjepa.settings.Settings`.

    Raises:
        ConfigurationError: if a setting cannot work.

    References:
        Rectified LpJEPA, https://arxiv.org/abs/2602.01456
    """

    settings_class = Settings
    loss_name = "rectified_lp_jepa_loss"

    def __init__(self, cfg: DictConfig) -> None:
        super().__init__(cfg)
        self.target = self.settings.target()
        self.target_l0 = float(self.target.active_probability)
        self.rdm_reg = RDMReg(
            self.target,
            DIRECTIONS[self.settings.projection_vectors_type](self.settings.num_projections),
            share_target=self.settings.share_target,
        )

    @classmethod
    def add_and_assert_specific_cfg(cls, cfg: DictConfig) -> DictConfig:
        """Fill in the method's defaults and check its settings.

        Args:
            cfg: the configuration, changed in place.

        Returns:
            The same configuration.

        Raises:
            ConfigurationError: if a setting cannot work.
        """
        cfg = super().add_and_assert_specific_cfg(cfg)
        _check_directions(cls.settings_class(**cfg.method_kwargs), cfg)
        return cfg

    def objective(
        self, views: Sequence[Tensor], batch_idx: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the loss from the outputs of all views.

        Args:
            views: outputs (N, D) for each crop, large ones first.
            batch_idx: the number of the batch in its epoch.

        Returns:
            The loss, and its terms ``invariance`` and ``rdm_reg``.
        """
        invariance = mean_over_pairs(_distance, views, self.num_large_crops)
        rdm_reg = self.rdm_reg(views, generator=self._generator(batch_idx))
        loss = (
            self.settings.invariance_loss_weight * invariance
            + self.settings.rdm_reg_loss_weight * rdm_reg
        )
        return loss, {"invariance": invariance, "rdm_reg": rdm_reg}


def _distance(first: Tensor, second: Tensor) -> Tensor:
    return F.mse_loss(first.float(), second.float())


def _check_directions(settings: Settings, cfg: DictConfig) -> None:
    directions = DIRECTIONS[settings.projection_vectors_type](settings.num_projections)
    if not isinstance(directions, SingularDirections):
        return
    devices = OmegaConf.select(cfg, "devices", default=1)
    world = (devices if isinstance(devices, int) else len(devices)) * OmegaConf.select(
        cfg, "num_nodes", default=1
    )
    needed = directions.num_singular(
        cfg.optimizer.batch_size * max(1, world), settings.proj_output_dim
    )
    if needed > settings.num_projections:
        raise ConfigurationError(
            "Expected `method_kwargs.num_projections` to be at least the number of singular "
            f"directions, {needed} at this batch size and `proj_output_dim`, but got "
            f"{settings.num_projections}."
        )
