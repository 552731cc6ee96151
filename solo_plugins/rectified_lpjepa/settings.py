# SPDX-License-Identifier: MIT
"""`method_kwargs` of Rectified LpJEPA: names, defaults and what each may be."""

__all__ = ["Settings"]

import dataclasses
import warnings
from typing import ClassVar

from torch.distributions import Distribution

from solo_plugins.method_settings import JointEmbeddingSettings, choice, flag, number
from solo_plugins.rectified_lpjepa.directions import DIRECTIONS
from solo_plugins.rectified_lpjepa.distribution import (
    GeneralizedGaussian,
    RectifiedGeneralizedGaussian,
    sigma_gn,
    sigma_rgn,
)

_TARGETS = {
    "rectified_lp_distribution": RectifiedGeneralizedGaussian,
    "lp_distribution": GeneralizedGaussian,
}
_SIGMAS = ("sigma_GN", "sigma_RGN")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(JointEmbeddingSettings):
    """The method's settings, by the reference implementation's names and with its defaults.

    Args:
        proj_hidden_dim: width of the projector's two hidden layers (512 on CIFAR, 2048 on
            ImageNet-100 in the paper).
        proj_output_dim: number of outputs D (as ``proj_hidden_dim``).
        target_distribution: ``rectified_lp_distribution``, or ``lp_distribution`` for dense LpJEPA.
        lp_norm_parameter: p of the target, positive (paper: 1).
        mean_shift_value: mu of the target, in the unit of the outputs (paper: 0).
        mode_of_sigma: ``sigma_GN`` gives the target unit variance before rectification (paper),
            ``sigma_RGN`` after it.
        projector_type: ``rectified_mlp``, which ends in ReLU, or ``mlp``.
        num_projections: number of unit directions per step (reference: 8192).
        projection_vectors_type: ``random`` (paper), ``orthogonal``, ``torch_svd_and_random`` or
            ``torch_svd_bottom_half_eigen_and_random``.
        invariance_loss_weight: weight of the squared distance between views (paper: 25).
        rdm_reg_loss_weight: weight of RDMReg (paper: 125; 250 for ResNet-18 on CIFAR-100).
        share_target: draw one target sample per step for all views, not one per view.
        add_projector_classifier: train an online linear classifier on the outputs too.
        logging_interval: steps between two logs of the sparsity metrics.

    Raises:
        ConfigurationError: if a value is out of range; the text names key, rule and value.
    """

    method: ClassVar[str] = "rectified_lpjepa"

    target_distribution: str = "rectified_lp_distribution"
    lp_norm_parameter: float = 1.0
    mean_shift_value: float = 0.0
    mode_of_sigma: str = "sigma_GN"
    num_projections: int = 8192
    projection_vectors_type: str = "random"
    invariance_loss_weight: float = 25.0
    rdm_reg_loss_weight: float = 125.0
    share_target: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        choice("target_distribution", self.target_distribution, _TARGETS)
        choice("mode_of_sigma", self.mode_of_sigma, _SIGMAS)
        choice("projection_vectors_type", self.projection_vectors_type, DIRECTIONS)
        number("num_projections", self.num_projections, "a positive integer", integer=True)
        number("lp_norm_parameter", self.lp_norm_parameter, "positive")
        for name in ("invariance_loss_weight", "rdm_reg_loss_weight"):
            number(name, getattr(self, name), "non-negative")
        number("mean_shift_value", self.mean_shift_value, "finite")
        flag("share_target", self.share_target)
        if self.target_distribution.startswith("rectified") and self.projector_type == "mlp":
            warnings.warn(
                "`method_kwargs.projector_type` is 'mlp', which has negative outputs, but "
                "`method_kwargs.target_distribution` is rectified: the outputs will not be sparse. "
                "This is meant for ablations; use 'rectified_mlp' otherwise.",
                stacklevel=2,
            )

    @property
    def sigma(self) -> float:
        """The target's scale, in the unit of the outputs."""
        if self.mode_of_sigma == "sigma_GN":
            return sigma_gn(self.lp_norm_parameter)
        return sigma_rgn(self.lp_norm_parameter, self.mean_shift_value)

    def target(self) -> Distribution:
        """Build the target distribution of one output.

        Returns:
            A distribution with an empty batch shape.
        """
        return _TARGETS[self.target_distribution](
            float(self.mean_shift_value), self.sigma, float(self.lp_norm_parameter)
        )
