# SPDX-License-Identifier: MIT
"""NVICReg: VICReg on non-negative outputs."""

__all__ = ["NVICReg", "NVICRegSettings"]

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor
from typing_extensions import override

from solo_plugins.args.kinds import Weight
from solo_plugins.framework import vicreg_loss
from solo_plugins.losses import mean_over_pairs
from solo_plugins.methods.joint_embedding import JointEmbedding
from solo_plugins.methods.shared_settings import JointEmbeddingSettings


class NVICRegSettings(JointEmbeddingSettings):
    """VICReg's settings by solo-learn's names, and a projector that ends in ReLU.

    Args:
        projector_type: ``rectified_mlp``; with ``mlp`` the method is VICReg.
        sim_loss_weight: weight of the squared distance between views (VICReg: 25).
        var_loss_weight: weight of the variance term (VICReg: 25).
        cov_loss_weight: weight of the covariance term (VICReg: 1).
        **others: as for :class:`~solo_plugins.methods.shared_settings.JointEmbeddingSettings`,
            whose errors are raised.
    """

    method: ClassVar[str] = "nvicreg"

    sim_loss_weight: Weight = 25.0
    var_loss_weight: Weight = 25.0
    cov_loss_weight: Weight = 1.0


class NVICReg(JointEmbedding):
    """VICReg's loss on a rectified projector (NVICReg-ReLU in the Rectified LpJEPA paper).

    solo-learn's own loss, averaged over all pairs of views of which at least one is a large crop,
    in float32. The variances and covariances are those of the batch of all processes.

    Args:
        cfg: solo-learn's configuration; ``method_kwargs`` are those of :class:`NVICRegSettings`.

    References:
        VICReg, https://arxiv.org/abs/2105.04906; Rectified LpJEPA, https://arxiv.org/abs/2602.01456
    """

    settings_class = NVICRegSettings
    settings: NVICRegSettings
    loss_name = "nvicreg_loss"

    @override
    def objective(
        self, views: Sequence[Tensor], batch_idx: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        weights = {
            name: getattr(self.settings, name)
            for name in ("sim_loss_weight", "var_loss_weight", "cov_loss_weight")
        }
        loss = mean_over_pairs(
            lambda first, second: vicreg_loss(first, second, **weights),
            views,
            self.num_large_crops,
        )
        return loss, {}
