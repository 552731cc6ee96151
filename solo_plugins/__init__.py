# SPDX-License-Identifier: MIT
"""Rectified LpJEPA (arXiv 2602.01456) as a plugin for solo-learn."""

__all__ = ["__version__", "register"]

from solo_plugins.registry import register

__version__ = "0.1.0"
