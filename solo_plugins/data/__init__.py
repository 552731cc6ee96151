# SPDX-License-Identifier: MIT
"""Data that solo-learn lacks, and one Lightning data module over all of it."""

__all__ = ["Digits", "LabelledDataModule", "PretrainDataModule"]

from solo_plugins.data.digits import Digits
from solo_plugins.data.labelled import LabelledDataModule
from solo_plugins.data.module import PretrainDataModule
