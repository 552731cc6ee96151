# SPDX-License-Identifier: MIT
"""Rectified LpJEPA (arXiv 2602.01456) as a plugin for solo-learn.

The public names below are imported when they are first used: ``import solo_plugins`` itself loads
neither torch nor solo-learn.

Example:
    >>> import solo_plugins
    >>> solo_plugins.RectifiedGeneralizedGaussian(loc=0.0, scale=1.0, p=1.0).active_probability
    tensor(0.5000)
"""

import importlib
from typing import Any

from solo_plugins.registry import register

__version__ = "0.1.0"

_ROOMS = {
    "distributions": (
        "GeneralizedGaussian", "RectifiedGeneralizedGaussian", "mu_gn", "mu_rgn", "sigma_gn",
        "sigma_rgn",
    ),
    "losses": ("HadamardDirections", "RDMReg", "RandomDirections", "sliced_wasserstein"),
    "modules": ("MLP", "RectifiedMLP"),
    "metrics": (
        "OutputDiagnostics", "all_zero_rows", "dead_outputs", "l0_sparsity", "l1_sparsity",
    ),
    "inference": ("Encoder", "load"),
    "methods.rectified_lpjepa": ("Criterion", "RectifiedLpJEPASettings"),
}  # fmt: skip
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names}

__all__ = ["__version__", "register", *_ROOM_OF]


def __getattr__(name: str) -> Any:
    if name not in _ROOM_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_ROOM_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
