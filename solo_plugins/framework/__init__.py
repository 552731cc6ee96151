# SPDX-License-Identifier: MIT
"""solo-learn behind one door: main's interface, whichever release is installed.

The only package that imports ``solo`` or asks for its release.
"""

__all__ = [
    "DISTANCES",
    "METHODS",
    "BaseMethod",
    "LinearModel",
    "accuracy_at_k",
    "adapt_methods",
    "hits",
    "known_backbones",
    "nearest_neighbours",
    "online_knn",
    "outputs",
    "projector_name",
    "release",
    "vote",
]

from solo_plugins.framework.release import import_solo, release

METHODS: dict[str, type] = import_solo().METHODS

from solo.utils.metrics import accuracy_at_k  # noqa: E402

from solo_plugins.framework.linear import LinearModel  # noqa: E402
from solo_plugins.framework.neighbours import DISTANCES, hits, nearest_neighbours, vote  # noqa: E402
from solo_plugins.framework.outputs import outputs, projector_name  # noqa: E402

if release() == "main":
    from solo_plugins.framework.native import BaseMethod, adapt, known_backbones, online_knn

    def adapt_methods() -> None:
        """Make main's methods run on today's stack and with timm's backbones."""
        adapt()

else:
    from solo_plugins.framework.bridge import (
        BaseMethod,
        bridge_methods,
        known_backbones,
        online_knn,
    )

    def adapt_methods() -> None:
        """Replace, in solo-learn's own table, its methods by ones built from main's configs."""
        if METHODS.get("base") is not BaseMethod:
            METHODS.update(bridge_methods())
