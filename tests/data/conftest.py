# SPDX-License-Identifier: MIT
"""A folder of images, and runs on one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import DictConfig
from PIL import Image


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write 24 images of two classes."""
    rng = np.random.default_rng(0)
    for label in ("first", "second"):
        (tmp_path / "images" / label).mkdir(parents=True)
        for index in range(12):
            pixels = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / label / f"{index}.png")
    return tmp_path / "images"


@pytest.fixture
def on_folder(make_cfg: Callable[..., DictConfig]) -> Callable[..., DictConfig]:
    """Return a function that makes a small run on a folder, with changes of ``data``."""

    def make(folder: Path, **data: Any) -> DictConfig:
        data = {"dataset": "custom", "train_path": str(folder), "num_workers": 1, **data}
        small = {"max_epochs": 1, "limit_train_batches": 2, "limit_val_batches": 1}
        return make_cfg(data=data, optimizer__batch_size=8, **small)

    return make
