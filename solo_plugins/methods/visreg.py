# SPDX-License-Identifier: MIT
"""VISReg: views are pulled to their centre; outputs are matched to a Gaussian in three terms."""

__all__ = ["VISReg", "VISRegSettings", "visreg_loss"]

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Annotated, Any, ClassVar

import torch
from omegaconf import DictConfig
from torch import Tensor
from torch.distributions import Normal
from typing_extensions import override

from solo_plugins.args.kinds import Choices, Count, Fraction, Weight
from solo_plugins.errors import ConfigurationError
from solo_plugins.methods.joint_embedding import JointEmbedding
from solo_plugins.methods.shared_settings import JointEmbeddingSettings
from solo_plugins.modules import PROJECTORS

_TERMS = ("scale", "shape", "center")


class VISRegSettings(JointEmbeddingSettings):
    """VISReg's settings, with lightly's defaults, which are the paper's for large data sets.

    Args:
        projector_type: ``mlp``; ``rectified_mlp`` cannot be Gaussian and is for ablations.
        regularizer_weight: lambda in [0, 1], the weight of the three terms; the pull's is
            1 - lambda (lightly: 0.9; the paper recommends 0.6 for small data sets).
        scale_weight: of the squared difference of standard deviations from 1, non-negative (1).
        shape_weight: of the sliced distance to a Gaussian, non-negative (1).
        center_weight: of the squared means, non-negative (1).
        num_projections: directions per step, positive (lightly: 4096).
        **others: as for :class:`~solo_plugins.methods.shared_settings.JointEmbeddingSettings`,
            whose errors are raised.
    """

    method: ClassVar[str] = "visreg"

    projector_type: Annotated[str, Choices(lambda: PROJECTORS)] = "mlp"
    regularizer_weight: Fraction = 0.9
    scale_weight: Weight = 1.0
    shape_weight: Weight = 1.0
    center_weight: Weight = 1.0
    num_projections: Count = 4096


class VISReg(JointEmbedding):
    """Joint embeddings whose mean, scale and shape are matched to a Gaussian's in three terms.

    lightly's own loss, in float32, on the batch of all processes. Of our baselines it is the one
    nearest to RDMReg: its shape term is a sliced Wasserstein distance, to a dense target.

    Args:
        cfg: solo-learn's configuration; ``method_kwargs`` are those of :class:`VISRegSettings`.

    Raises:
        ConfigurationError: if a setting cannot work, or lightly is not installed.

    References:
        VISReg, https://arxiv.org/abs/2606.02572
    """

    settings_class = VISRegSettings
    settings: VISRegSettings
    loss_name = "visreg_loss"

    def __init__(self, cfg: DictConfig) -> None:
        super().__init__(cfg)
        self.visreg = visreg_loss(self.settings)

    @property
    def target(self) -> Normal:
        """The distribution that each output is matched to, the standard normal."""
        return Normal(0.0, 1.0)

    @override
    def objective(
        self, views: Sequence[Tensor], batch_idx: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        outputs = torch.stack([view.float() for view in views])
        large, small = outputs[: self.num_large_crops], outputs[self.num_large_crops :]
        device = self.device
        # lightly draws from torch's own generators, which belong to the rest of the program
        with (
            torch.random.fork_rng([device] if device.type == "cuda" else []),
            torch.autocast(device.type, enabled=False),
        ):
            torch.manual_seed(self.step_generator(batch_idx).initial_seed())
            found = self.visreg.forward_components(local_proj=small, global_proj=large)
        terms = {"invariance": found.pred, **{name: getattr(found, name) for name in _TERMS}}
        return found.total, terms


def visreg_loss(settings: VISRegSettings) -> Any:
    """Make lightly's loss of the settings, on the batch of all processes.

    Raises:
        ConfigurationError: if lightly is not installed.
    """
    if find_spec("lightly") is None:
        raise ConfigurationError(
            "Expected lightly to be installed for `method: visreg` but it is not: "
            "pip install 'solo_plugins[visreg]'."
        )
    from lightly.loss.visreg_loss import VISRegLoss

    return VISRegLoss(
        settings.regularizer_weight,
        settings.num_projections,
        **{f"lambda_{name}": getattr(settings, f"{name}_weight") for name in _TERMS},
        gather_distributed=torch.distributed.is_available(),
    )
