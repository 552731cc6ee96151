# SPDX-License-Identifier: MIT
"""The projector and the activations that it can end in."""

__all__ = [
    "MLP", "PROJECTORS", "SHALLOW", "RectifiedMLP", "RepReLU", "RepRectifiedMLP", "ShallowMLP",
    "ThresholdedReLU", "rep_relu",
]  # fmt: skip

from solo_plugins.modules.activation import RepReLU, ThresholdedReLU, rep_relu
from solo_plugins.modules.projector import (
    MLP,
    PROJECTORS,
    SHALLOW,
    RectifiedMLP,
    RepRectifiedMLP,
    ShallowMLP,
)
