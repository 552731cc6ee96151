# SPDX-License-Identifier: MIT
"""The target's distribution and its parameters."""

__all__ = [
    "GeneralizedGaussian", "Quantiles", "RectifiedGeneralizedGaussian", "Target", "mu_gn", "mu_rgn",
    "scaled_to_unit_rms", "sigma_gn", "sigma_rgn",
]  # fmt: skip

from solo_plugins.distributions.generalized_gaussian import GeneralizedGaussian
from solo_plugins.distributions.parameters import (
    mu_gn,
    mu_rgn,
    scaled_to_unit_rms,
    sigma_gn,
    sigma_rgn,
)
from solo_plugins.distributions.rectified import RectifiedGeneralizedGaussian
from solo_plugins.distributions.target import Quantiles, Target
