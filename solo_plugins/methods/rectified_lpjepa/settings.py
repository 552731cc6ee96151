# SPDX-License-Identifier: MIT
"""The ``method_kwargs`` of Rectified LpJEPA: names, defaults and rules."""

__all__ = ["RectifiedLpJEPASettings"]

import math
import warnings
from collections.abc import Callable
from typing import Annotated, ClassVar, TypeVar

import torch
from pydantic import Field, model_validator
from torch import nn
from typing_extensions import Self, override

from solo_plugins.args.kinds import Choices, Flag, Fraction, Rule, Weight
from solo_plugins.distributions import (
    GeneralizedGaussian,
    RectifiedGeneralizedGaussian,
    Target,
    mu_gn,
    mu_rgn,
    scaled_to_unit_rms,
    sigma_gn,
    sigma_rgn,
)
from solo_plugins.errors import ConfigurationError
from solo_plugins.losses import DIRECTIONS
from solo_plugins.methods.shared_settings import JointEmbeddingSettings, Width
from solo_plugins.modules import RectifiedMLP

_TARGETS: dict[str, Callable[[float, float, float], Target]] = {
    "rectified_lp_distribution": RectifiedGeneralizedGaussian,
    "lp_distribution": GeneralizedGaussian,
}
_Result = TypeVar("_Result")
_SIGMAS = {"sigma_GN": mu_gn, "sigma_RGN": mu_rgn}
# Fewer active outputs of a sample than these are none for a training.
_FEW = 0.01
# Of the target's location and scale, whose squares float32 holds, and of the scale alone.
_LARGEST, _SMALLEST = 1e18, 2.0**-126
# The relative difference that is allowed between `target_active_fraction` and the active fraction
# that `mean_shift_value` gives: values that were rounded to three digits agree.
_TOLERANCE = 0.01
_BETWEEN = "between 0 and 1, neither included,"
_CONTROLS = (
    "sparsity_warmup",
    "threshold_rate",
    "standardize_outputs",
    "row_floor",
)


class RectifiedLpJEPASettings(JointEmbeddingSettings):
    """The method's settings, by the reference implementation's names and with its defaults.

    Args:
        proj_hidden_dim: width of the projector's two hidden layers (512 on CIFAR, 2048 on
            ImageNet-100 in the paper).
        proj_output_dim: number of outputs D (as ``proj_hidden_dim``).
        target_distribution: ``rectified_lp_distribution``, or ``lp_distribution`` for dense LpJEPA.
        lp_norm_parameter: p of the target, positive (paper: 1).
        mean_shift_value: mu of the target, in the unit of the outputs; by default what
            ``target_active_fraction`` makes it, else 0 (paper).
        target_active_fraction: the fraction of outputs that are to be active, between 0 and 1. It
            determines mu; None leaves mu to ``mean_shift_value``.
        mode_of_sigma: ``sigma_GN`` gives the target unit variance before rectification (paper),
            ``sigma_RGN`` after it.
        projector_type: ``rectified_mlp``, which ends in ReLU, ``rep_rectified_mlp``, whose ReLU has
            GELU's gradient, or ``mlp``.
        num_projections: number of unit directions per step (reference: 8192).
        projection_vectors_type: ``random`` (paper), ``hadamard``, which is several times faster,
            ``orthogonal``, ``torch_svd_and_random`` or ``torch_svd_bottom_half_eigen_and_random``.
        invariance_loss_weight: weight of the squared distance between views (paper: 25).
        rdm_reg_loss_weight: weight of RDMReg (paper: 125; 250 for ResNet-18 on CIFAR-100).
        share_target: draw one target sample per step for all views, not one per view.
        unit_rms_target: scale the target to a mean square of 1, so that RDMReg keeps its size as mu
            falls.
        sparsity_warmup: the part of training, from 0 to 1, in which the target active fraction goes
            from 1/2 to its final value.
        threshold_rate: moves a threshold of each output, before the last ReLU, until the output
            has the target active fraction. It is the largest step, in standard deviations of the
            output; 0 is off.
        standardize_outputs: give each sample's outputs mean 0 and variance 1 before the last ReLU.
        row_floor: the smallest number of active outputs of a sample, as a part, from 0 to 1, of
            the target number.
        cuda_graph: record the regulariser's operations on an NVIDIA GPU and start them all at once,
            with the same results; with ``random`` and ``hadamard`` only.
        add_projector_classifier: train an online linear classifier on the outputs too.
        logging_interval: steps between two logs of sparsity; an epoch's last has one too.

    Raises:
        ConfigurationError: if a value is out of range; the text names key, rule and value.
    """

    method: ClassVar[str] = "rectified_lpjepa"

    target_distribution: Annotated[str, Choices(lambda: _TARGETS)] = "rectified_lp_distribution"
    lp_norm_parameter: Annotated[float, Field(gt=0, le=1000), Rule("positive")] = 1.0
    mean_shift_value: Annotated[float, Rule("finite")] | None = None
    target_active_fraction: Annotated[float, Field(gt=0, lt=1), Rule(_BETWEEN)] | None = None
    mode_of_sigma: Annotated[str, Choices(lambda: _SIGMAS)] = "sigma_GN"
    num_projections: Width = 8192
    projection_vectors_type: Annotated[str, Choices(lambda: DIRECTIONS)] = "random"
    invariance_loss_weight: Weight = 25.0
    rdm_reg_loss_weight: Weight = 125.0
    share_target: Flag = False
    unit_rms_target: Flag = False
    sparsity_warmup: Fraction = 0.0
    threshold_rate: Fraction = 0.0
    standardize_outputs: Flag = False
    row_floor: Fraction = 0.0
    cuda_graph: Flag = True

    @model_validator(mode="after")
    def _settle(self) -> Self:
        self._check_hadamard()
        self._possible("lp_norm_parameter", lambda: sigma_gn(float(self.lp_norm_parameter)))
        self._settle_mean_shift()
        self._check_scale()
        self._check_control()
        if self.rectified and self.active_fraction * self.proj_output_dim < _FEW:
            warnings.warn(
                f"`method_kwargs.mean_shift_value` is {self.mean_shift_value:g}: the target has "
                f"{100 * self.active_fraction:.1g} % active outputs, fewer than one in a hundred "
                "images. The outputs will all be zero.",
                stacklevel=2,
            )
        if self.rectified and self.projector_type == "mlp":
            warnings.warn(
                "`method_kwargs.projector_type` is 'mlp', which has negative outputs, but "
                "`method_kwargs.target_distribution` is rectified: the outputs will not be sparse. "
                "This is meant for ablations; use 'rectified_mlp' otherwise.",
                stacklevel=2,
            )
        return self

    @property
    def sigma(self) -> float:
        """The target's scale, in the unit of the outputs."""
        return self._scaled(float(self.mean_shift_value or 0.0))[1]

    @property
    def mu(self) -> float:
        """The target's location, in the unit of the outputs."""
        return self._scaled(float(self.mean_shift_value or 0.0))[0]

    @property
    def active_fraction(self) -> float:
        """The target active fraction, in float64: 1e-8 and 1 - 1e-8 are neither 0 nor 1."""
        if not self.rectified:
            return 1.0
        loc, scale = self._scaled(float(self.mean_shift_value or 0.0))
        values = (loc, scale, float(self.lp_norm_parameter))
        exact = torch.tensor(values, dtype=torch.float64)
        law = RectifiedGeneralizedGaussian(exact[0], exact[1], exact[2])
        return float(law.active_probability)

    @property
    def rectified(self) -> bool:
        """Whether the target's negative part is moved to zero."""
        return self.target_distribution.startswith("rectified")

    @property
    def controlled(self) -> bool:
        """Whether the target or the thresholds move during training."""
        return bool(self.sparsity_warmup or self.threshold_rate)

    def target(self, active_fraction: float | None = None) -> Target:
        """Build the target distribution of one output.

        Args:
            active_fraction: an active fraction in place of the target active fraction.

        Returns:
            A distribution with an empty batch shape.
        """
        p, mean_shift = float(self.lp_norm_parameter), float(self.mean_shift_value or 0.0)
        if active_fraction is not None:
            mean_shift = _SIGMAS[self.mode_of_sigma](active_fraction, p)
        return _TARGETS[self.target_distribution](*self._scaled(mean_shift), p)

    @override
    def projector(self, input_dim: int) -> nn.Module:
        projector = super().projector(input_dim)
        changed = self.threshold_rate or self.standardize_outputs or self.row_floor
        if isinstance(projector, RectifiedMLP) and changed:
            return projector.with_thresholds(
                standardize=self.standardize_outputs, floor=self._floor()
            )
        return projector

    def _floor(self) -> int:
        if not self.row_floor:
            return 0
        fraction = self.active_fraction
        # A rounding error above a whole number does not count.
        floor = math.ceil(self.row_floor * fraction * self.proj_output_dim - 1e-4)
        return min(floor, self.proj_output_dim - 1)

    def _scaled(self, mean_shift: float) -> tuple[float, float]:
        p = float(self.lp_norm_parameter)
        scale = sigma_gn(p) if self.mode_of_sigma == "sigma_GN" else sigma_rgn(p, mean_shift)
        if self.unit_rms_target and self.rectified:
            return scaled_to_unit_rms(mean_shift, scale, p)
        return mean_shift, scale

    def _settle_mean_shift(self) -> None:
        """Compute mu from `target_active_fraction`, or check that the two agree."""
        given, target = self.mean_shift_value, self.target_active_fraction
        if target is None:
            object.__setattr__(self, "mean_shift_value", 0.0 if given is None else given)
            return
        if not self.rectified:
            raise ConfigurationError(
                "Expected `method_kwargs.target_active_fraction` to be set with "
                "`target_distribution: rectified_lp_distribution` only, other targets have no "
                f"outputs at zero, but got {target!r} with {self.target_distribution!r}."
            )
        if given is None:
            p, solve = float(self.lp_norm_parameter), _SIGMAS[self.mode_of_sigma]
            mean_shift = self._possible("target_active_fraction", lambda: solve(target, p))
            object.__setattr__(self, "mean_shift_value", mean_shift)
            return
        self._check_scale()
        fraction = self.active_fraction
        if abs(fraction - target) > _TOLERANCE * min(target, 1 - target):
            raise ConfigurationError(
                "Expected `method_kwargs.mean_shift_value` and `target_active_fraction` to agree, "
                f"but {given!r} gives an active fraction of {fraction:.10g}, not {target!r}; set "
                "one of the two: `++method_kwargs.mean_shift_value=null` removes a YAML's."
            )

    def _check_scale(self) -> None:
        """Refuse a target whose scale or location is no number of float32."""
        shift = float(self.mean_shift_value or 0.0)
        key = "mean_shift_value"
        beside = f" with `unit_rms_target: {self.unit_rms_target}`" if self.unit_rms_target else ""
        loc, scale = self._possible(key, lambda: self._scaled(shift), beside)
        if not (abs(loc) < _LARGEST and _SMALLEST < scale < _LARGEST):
            raise ConfigurationError(
                f"Expected `method_kwargs.{key}` to give a target that float32 holds{beside} but "
                f"got {self.mean_shift_value!r}, a location of {loc:g} and a scale of {scale:g}."
            )

    def _possible(self, name: str, compute: Callable[[], _Result], beside: str = "") -> _Result:
        """Compute what follows from a setting, and name the setting if nothing does."""
        try:
            return compute()
        except (ValueError, ArithmeticError) as error:
            raise ConfigurationError(
                f"Expected `method_kwargs.{name}` to be possible{beside} but got "
                f"{getattr(self, name)!r}: {error}"
            ) from error

    def _check_hadamard(self) -> None:
        if self.projection_vectors_type == "hadamard" and self.proj_output_dim < 2:
            raise ConfigurationError(
                "Expected `method_kwargs.proj_output_dim` to be at least 2 with "
                "`projection_vectors_type: hadamard`, whose directions all are the same else, but "
                f"got {self.proj_output_dim}."
            )

    def _check_control(self) -> None:
        """Refuse control of outputs that cannot be zero."""
        for name in _CONTROLS:
            value = getattr(self, name)
            if not value:
                continue
            if not self.rectified:
                raise ConfigurationError(
                    f"Expected `method_kwargs.{name}` to be off with "
                    f"`target_distribution: {self.target_distribution}`, all of whose outputs are "
                    f"active, but got {value!r}."
                )
            if self.projector_type == "mlp":
                raise ConfigurationError(
                    f"Expected `method_kwargs.{name}` to be off with `projector_type: mlp`, which "
                    f"has no ReLU, but got {value!r}."
                )
            if not 0 < self.active_fraction < 1:
                raise ConfigurationError(
                    f"Expected `method_kwargs.mean_shift_value` to give an active fraction between "
                    f"0 and 1 with `{name}: {value!r}` but got {self.mean_shift_value!r}, which "
                    f"gives {self.active_fraction:g}."
                )
