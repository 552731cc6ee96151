# SPDX-License-Identifier: MIT
"""What the import of solo-learn finds and leaves behind."""

import sys

import lightning.pytorch as pl

from solo_plugins.framework import METHODS


def test_solo_learns_methods_are_of_the_one_lightning() -> None:
    assert issubclass(METHODS["vicreg"], pl.LightningModule)


def test_the_stand_ins_are_gone_after_the_import() -> None:
    assert sys.modules.get("pytorch_lightning") is not pl
    assert "pl_bolts" not in sys.modules
