# SPDX-License-Identifier: MIT
"""The methods of solo-learn's main branch as they are, with what today's stack needs."""

__all__ = [
    "LOSSES",
    "SCHEDULES",
    "BaseMethod",
    "adapt_methods",
    "backbone_constructor",
    "known_backbones",
]

from solo.methods import base
from solo.methods.base import BaseMethod
from solo.utils.knn import WeightedKNNClassifier as SoloKNN

from solo_plugins.framework.backbones import BackboneFactory, timm_backbones
from solo_plugins.framework.neighbours import WeightedKNNClassifier

# The values of ``scheduler.name`` that a method can be trained with; main knows others by name.
SCHEDULES: tuple[str, ...] = ("warmup_cosine", "step", "none")
# What methods call their loss in the logs, where main calls it otherwise.
LOSSES: dict[str, str] = {}


def adapt_methods() -> None:
    """Add timm's models to solo-learn's backbones and put the repaired kNN in its place."""
    for name, factory in timm_backbones().items():
        BaseMethod._BACKBONES.setdefault(name, factory)
    if base.WeightedKNNClassifier is SoloKNN:
        base.WeightedKNNClassifier = WeightedKNNClassifier


def backbone_constructor(name: str) -> BackboneFactory:
    """Find a backbone's constructor.

    Args:
        name: one of :func:`known_backbones`.

    Returns:
        A function of the method's name and ``backbone.kwargs``.
    """
    constructor: BackboneFactory = BaseMethod._BACKBONES[name]
    return constructor


def known_backbones() -> list[str]:
    """List the names that ``backbone.name`` may have.

    Returns:
        Main's own, and all of timm's once :func:`adapt_methods` was called.
    """
    return list(BaseMethod._BACKBONES)
