# SPDX-License-Identifier: MIT
"""A folder of images, runs on one, and torchvision's data sets."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import DictConfig
from PIL import Image
from torchvision.datasets import CIFAR10, CIFAR100, STL10


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


def _write_downloaded(name: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write a data set of 32 random images in torchvision's own format, without its checksums."""
    kind = {"cifar10": CIFAR10, "cifar100": CIFAR100, "stl10": STL10}[name]
    rng = np.random.default_rng(0)
    folder = root / kind.base_folder
    folder.mkdir(parents=True)
    for attribute in ("train_list", "test_list"):
        files = [[file, None] for file, _ in getattr(kind, attribute)]
        monkeypatch.setattr(kind, attribute, files)
    if name == "stl10":
        for split in ("train", "test", "unlabeled"):
            rng.integers(0, 256, (32, 3, 96, 96), dtype=np.uint8).tofile(folder / f"{split}_X.bin")
            (np.arange(32, dtype=np.uint8) % 10 + 1).tofile(folder / f"{split}_y.bin")
        (folder / "class_names.txt").write_text("\n".join("abcdefghij"))
        (folder / "fold_indices.txt").write_text("0")
        return
    labels = {"cifar10": "labels", "cifar100": "fine_labels"}[name]
    meta = {kind.meta["key"]: [str(i) for i in range(100)]}
    entry = {
        "data": rng.integers(0, 256, (32, 3072), dtype=np.uint8),
        labels: list(range(10)) * 3 + [0, 1],
    }
    for file, _ in kind.train_list + kind.test_list:
        (folder / file).write_bytes(pickle.dumps(entry))
    (folder / kind.meta["filename"]).write_bytes(pickle.dumps(meta))
    monkeypatch.setattr(kind, "meta", {**kind.meta, "md5": None})


@pytest.fixture
def downloaded(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Path], None]:
    """Return a function that writes a data set of torchvision's, by its name, into a folder."""
    return lambda name, root: _write_downloaded(name, root, monkeypatch)
