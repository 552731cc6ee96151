# SPDX-License-Identifier: MIT
"""Which release of solo-learn is installed, and how it is imported on today's stack.

There are two in use: main on GitHub (1.0.6, never released, used from its clone) and 1.0.2 on PyPI
(2021). Main imports as it is. The PyPI release asks for two modules that cannot be installed beside
Lightning 2: ``pytorch_lightning``, for which Lightning itself stands in, and ``pl_bolts``, of which
it uses one scheduler. Both stand-ins exist in ``sys.modules`` during the import only. Where
umap-learn is installed both releases would import that too, which takes several seconds of
compiling for a callback that is not used here: ``umap`` is hidden meanwhile.
"""

__all__ = ["INSTALL_HINT", "import_solo", "release"]

import importlib
import importlib.util
import sys
import types
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as pl

from solo_plugins.errors import SoloLearnMissingError
from solo_plugins.framework.pypi.bridge.schedule import LinearWarmupCosineAnnealingLR

INSTALL_HINT = (
    "solo-learn is not installed. Install the release on PyPI with\n"
    "    pip install --no-deps solo-learn==1.0.2\n"
    "or use main from its clone:\n"
    "    git clone https://github.com/vturrisi/solo-learn\n"
    "    export PYTHONPATH=$PWD/solo-learn"
)


def release() -> Literal["main", "pypi"]:
    """Tell which solo-learn an ``import solo`` would find, without importing it.

    Returns:
        ``"main"`` for the repository's main branch, ``"pypi"`` for 1.0.2.

    Raises:
        SoloLearnMissingError: if there is none.
    """
    spec = importlib.util.find_spec("solo")
    if spec is None or not spec.submodule_search_locations:
        raise SoloLearnMissingError(INSTALL_HINT)
    root = Path(next(iter(spec.submodule_search_locations)))
    return "main" if (root / "data").is_dir() else "pypi"


def import_solo() -> Literal["main", "pypi"]:
    """Import solo-learn, after which ``solo`` and its modules are imported like any other.

    Returns:
        Which release it is.

    Raises:
        SoloLearnMissingError: if solo-learn is not installed.
    """
    found = release()
    shown: dict[str, Any] = {"umap": None}  # what Python takes for a module that is not there
    if found == "pypi":
        shown |= _stand_ins()
    with _in_place(shown), warnings.catch_warnings():
        # Main imports timm by a path that today's timm calls deprecated.
        warnings.simplefilter("ignore")
        # It imports the modules of both releases that need the stand-ins.
        importlib.import_module("solo.methods")
    return found


def _stand_ins() -> dict[str, Any]:
    """Give Lightning the name ``pytorch_lightning``, and ``pl_bolts`` one scheduler."""
    shown: dict[str, Any] = {
        "pytorch_lightning" + name.removeprefix(pl.__name__): module
        for name, module in list(sys.modules.items())
        if name == pl.__name__ or name.startswith(f"{pl.__name__}.")
    }
    scheduler = types.ModuleType("pl_bolts.optimizers.lr_scheduler")
    scheduler.LinearWarmupCosineAnnealingLR = LinearWarmupCosineAnnealingLR  # type: ignore[attr-defined]
    shown["pl_bolts"] = types.ModuleType("pl_bolts")
    shown["pl_bolts.optimizers"] = types.ModuleType("pl_bolts.optimizers")
    shown["pl_bolts.optimizers.lr_scheduler"] = scheduler
    return shown


@contextmanager
def _in_place(shown: dict[str, Any]) -> Iterator[None]:
    """Show modules for a while, in place of all of the packages that they belong to."""
    packages = {name.partition(".")[0] for name in shown}

    def found() -> dict[str, Any]:
        return {
            name: module
            for name, module in sys.modules.items()
            if name.partition(".")[0] in packages
        }

    hidden = found()
    for name in hidden:
        del sys.modules[name]
    sys.modules.update(shown)
    try:
        yield
    finally:
        for name in found():
            del sys.modules[name]
        sys.modules.update(hidden)
