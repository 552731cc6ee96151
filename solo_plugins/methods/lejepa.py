# SPDX-License-Identifier: MIT
"""LeJEPA: views are pulled to their centre, and outputs are matched to a Gaussian by SIGReg."""

__all__ = ["LeJEPA", "LeJEPASettings"]

from collections.abc import Sequence
from typing import Annotated, ClassVar

import torch
from omegaconf import DictConfig
from pydantic import Field
from torch import Tensor
from torch.distributions import Normal
from typing_extensions import override

from solo_plugins.args.kinds import Choices, Rule
from solo_plugins.losses import SIGReg
from solo_plugins.methods.joint_embedding import JointEmbedding
from solo_plugins.methods.shared_settings import JointEmbeddingSettings, Width
from solo_plugins.modules import PROJECTORS


class LeJEPASettings(JointEmbeddingSettings):
    """LeJEPA's settings, with its published code's defaults.

    Args:
        projector_type: ``mlp``; ``rectified_mlp`` cannot be Gaussian and is for ablations.
        sigreg_weight: lambda in [0, 1], SIGReg's weight; the pull's is 1 - lambda (LeJEPA: 0.05).
        num_projections: directions per step (LeJEPA: 1024).
        num_knots: frequencies of the test, at least 2 (LeJEPA: 17).
        max_frequency: the largest of them, positive (LeJEPA: 3).
        **others: as for :class:`~solo_plugins.methods.shared_settings.JointEmbeddingSettings`,
            whose errors are raised.
    """

    method: ClassVar[str] = "lejepa"

    projector_type: Annotated[str, Choices(lambda: PROJECTORS)] = "mlp"
    sigreg_weight: Annotated[float, Field(ge=0, le=1), Rule("a number in [0, 1]")] = 0.05
    num_projections: Width = 1024
    num_knots: Annotated[int, Field(ge=2, le=10**4), Rule("an integer of at least 2")] = 17
    max_frequency: Annotated[float, Field(gt=0, le=1000), Rule("positive")] = 3.0


class LeJEPA(JointEmbedding):
    r"""Joint embeddings that are Gaussian along every direction.

    With :math:`z_v` (N, D) the projector's outputs for view v and :math:`\bar z` their mean over
    the large crops, the loss is

    .. math:: (1 - \lambda) \, \mathrm{mean}_v \lVert z_v - \bar z \rVert^2 / (N D)
        + \lambda \, \mathrm{mean}_v \, \mathrm{SIGReg}(z_v)

    over all views. Both terms are computed in float32.

    Args:
        cfg: solo-learn's configuration; ``method_kwargs`` are those of :class:`LeJEPASettings`.

    References:
        LeJEPA, https://arxiv.org/abs/2511.08544
    """

    settings_class = LeJEPASettings
    settings: LeJEPASettings
    loss_name = "lejepa_loss"

    def __init__(self, cfg: DictConfig) -> None:
        super().__init__(cfg)
        self.sigreg = SIGReg(
            self.settings.num_projections,
            num_knots=self.settings.num_knots,
            max_frequency=self.settings.max_frequency,
        )

    @property
    def target(self) -> Normal:
        """The distribution that each output is matched to, the standard normal."""
        return Normal(0.0, 1.0)

    @override
    def objective(
        self, views: Sequence[Tensor], batch_idx: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        outputs = torch.stack([view.float() for view in views])
        centre = outputs[: self.num_large_crops].mean(dim=0)
        invariance = (outputs - centre).square().mean()
        sigreg = self.sigreg(views, generator=self.step_generator(batch_idx))
        weight = self.settings.sigreg_weight
        loss = (1 - weight) * invariance + weight * sigreg
        return loss, {"invariance": invariance, "sigreg": sigreg}
