# SPDX-License-Identifier: MIT
"""What the import of solo-learn finds and leaves behind."""

import sys
from collections.abc import Callable

import lightning.pytorch as pl

from solo_plugins.framework import METHODS


def test_solo_learns_methods_are_of_the_one_lightning() -> None:
    assert issubclass(METHODS["vicreg"], pl.LightningModule)


def test_the_stand_ins_are_gone_after_the_import() -> None:
    assert sys.modules.get("pytorch_lightning") is not pl
    assert "pl_bolts" not in sys.modules


def test_umap_is_not_imported_along_and_stays_importable(run_program: Callable) -> None:
    program = "import sys, solo_plugins.framework as f; print(sys.modules.get('umap', 'hidden'))"
    assert run_program("-c", program).stdout.split()[-1] == "hidden"
