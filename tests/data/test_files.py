# SPDX-License-Identifier: MIT
"""Image files that are read once."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig

from solo_plugins.args.pretrain import parse_cfg
from solo_plugins.data import PretrainDataModule

Make = Callable[..., DictConfig]


@pytest.mark.usefixtures("methods")
@pytest.mark.parametrize("no_labels", [False, True])
def test_preloaded_images_are_those_of_the_files_and_need_them_no_more(
    no_labels: bool, on_folder: Make, folder: Path, augmentation: Callable
) -> None:
    still = augmentation(rrc={"enabled": False}, color_jitter={"prob": 0.0}, num_crops=1)
    root = folder / "first" if no_labels else folder
    changes = {"no_labels": no_labels, "val_path": None if no_labels else str(folder)}
    modules = []
    for preload in (False, True):
        cfg = on_folder(root, preload=preload, **changes)
        cfg.augmentations = [{**still, "num_crops": 2}]
        modules.append(PretrainDataModule(parse_cfg(cfg)[0]))
    read, held = modules
    _ = held.train_set, held.val_set
    wanted = [read.train_set[index] for index in range(len(read.train_set))]
    validation = [] if no_labels else list(read.val_set)
    for path in folder.rglob("*.png"):
        path.unlink()
    for number, (index, crops, target) in enumerate(wanted):
        got = held.train_set[number]
        assert (got[0], got[2]) == (index, target)
        assert torch.equal(got[1][0], crops[0])
    for number, (image, target) in enumerate(validation):
        assert torch.equal(held.val_set[number][0], image)
        assert held.val_set[number][1] == target
