# SPDX-License-Identifier: MIT
"""Rectified LpJEPA: the method, its criterion and its settings."""

__all__ = ["Criterion", "RectifiedLpJEPASettings"]

from solo_plugins.methods.rectified_lpjepa.criterion import Criterion
from solo_plugins.methods.rectified_lpjepa.settings import RectifiedLpJEPASettings
