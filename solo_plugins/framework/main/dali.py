# SPDX-License-Identifier: MIT
"""The DALI transforms of solo-learn's main branch, as they are."""

__all__ = ["DALI_FIXED", "build_transform_pipeline_dali"]

from collections.abc import Callable
from typing import Any

from omegaconf import DictConfig

# What main's DALI transforms cannot vary: settings of an augmentation, and their value.
DALI_FIXED: dict[str, Any] = {"equalization.prob": 0}


def build_transform_pipeline_dali(dataset: str, cfg: DictConfig, dali_device: str) -> Callable:
    """Build one augmentation; arguments and result are those of the twin in ``pypi``."""
    from solo.data import dali_dataloader  # which needs DALI

    return dali_dataloader.build_transform_pipeline_dali(dataset, cfg, dali_device)
