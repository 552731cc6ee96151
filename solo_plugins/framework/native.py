# SPDX-License-Identifier: MIT
"""solo-learn's main branch as it is, with what today's stack needs."""

__all__ = ["BaseMethod", "adapt", "known_backbones", "online_knn"]

from solo_plugins.framework.backbones import timm_backbones
from solo_plugins.framework.neighbours import repaired_knn
from solo_plugins.framework.release import import_solo

import_solo()

import solo.methods.base as _base  # noqa: E402
from solo.methods.base import BaseMethod  # noqa: E402
from solo.utils.knn import WeightedKNNClassifier as _SoloKNN  # noqa: E402

online_knn = repaired_knn(_SoloKNN)


def adapt() -> None:
    """Add timm's models to solo-learn's backbones and put the repaired kNN in its place."""
    for name, factory in timm_backbones().items():
        BaseMethod._BACKBONES.setdefault(name, factory)
    if _base.WeightedKNNClassifier is _SoloKNN:
        _base.WeightedKNNClassifier = online_knn


def known_backbones() -> list[str]:
    """List the names that ``backbone.name`` may have.

    Returns:
        Main's own, and all of timm's once :func:`adapt` was called.
    """
    return list(BaseMethod._BACKBONES)
