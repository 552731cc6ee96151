# SPDX-License-Identifier: MIT
"""NCL: contrastive learning on non-negative outputs."""

__all__ = ["NCL", "NCLSettings"]

from collections.abc import Sequence
from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor
from typing_extensions import override

from solo_plugins.args.kinds import Choices, Rule
from solo_plugins.framework import simclr_loss
from solo_plugins.losses import mean_over_pairs
from solo_plugins.methods.joint_embedding import JointEmbedding
from solo_plugins.methods.shared_settings import JointEmbeddingSettings
from solo_plugins.modules import PROJECTORS, SHALLOW


class NCLSettings(JointEmbeddingSettings):
    """SimCLR's settings by solo-learn's names, and a projector that ends in ReLU.

    Args:
        projector_type: ``rectified_mlp``; with ``mlp`` the method is SimCLR. ``mlp2``,
            ``rectified_mlp2`` and ``rep_rectified_mlp2`` have two layers without BatchNorm, as
            SimCLR's own projector.
        temperature: of the softmax over similarities, at least 0.02, below which solo-learn main's
            exponentials overflow (solo-learn's CIFAR YAML and the reference: 0.2).
        **others: as for :class:`~solo_plugins.methods.shared_settings.JointEmbeddingSettings`,
            whose errors are raised.
    """

    method: ClassVar[str] = "ncl"
    projectors: ClassVar = {**PROJECTORS, **SHALLOW}

    projector_type: Annotated[str, Choices(lambda: [*PROJECTORS, *SHALLOW])] = "rectified_mlp"
    temperature: Annotated[float, Field(ge=0.02, le=1000), Rule("a number of at least 0.02")] = 0.2


class NCL(JointEmbedding):
    """SimCLR's loss on a rectified projector (NCL-ReLU in the Rectified LpJEPA paper).

    solo-learn's own loss, averaged over all pairs of views of which at least one is a large crop,
    in float32. The negatives are those of the batch of all processes.

    Args:
        cfg: solo-learn's configuration; ``method_kwargs`` are those of :class:`NCLSettings`.

    References:
        Non-negative Contrastive Learning, https://arxiv.org/abs/2403.12459
    """

    settings_class = NCLSettings
    settings: NCLSettings
    loss_name = "ncl_loss"

    @override
    def objective(
        self, views: Sequence[Tensor], batch_idx: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        temperature = self.settings.temperature
        loss = mean_over_pairs(
            lambda first, second: simclr_loss(first, second, temperature=temperature),
            views,
            self.num_large_crops,
        )
        return loss, {}
