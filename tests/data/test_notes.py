# SPDX-License-Identifier: MIT
"""What a run on an own folder says of its images."""

from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import DictConfig
from PIL import Image

from solo_plugins.args.pretrain import parse_cfg
from solo_plugins.data import PretrainDataModule
from solo_plugins.training.pretrain import pretrain

Make = Callable[..., DictConfig]
pytestmark = pytest.mark.usefixtures("methods")


def _notes(cfg: DictConfig) -> str:
    return "\n".join(PretrainDataModule(parse_cfg(cfg)[0]).notes)


@pytest.mark.parametrize(("crop_size", "said"), [(32, False), (40, False), (64, True)])
@pytest.mark.parametrize("no_labels", [False, True])
def test_images_smaller_than_their_crops_are_said(
    no_labels: bool, crop_size: int, said: bool, on_folder: Make, folder: Path, augmentation: Make
) -> None:
    cfg = on_folder(folder / "first" if no_labels else folder, no_labels=no_labels)
    cfg.augmentations = [augmentation(crop_size=crop_size)]
    notes = _notes(cfg)
    assert ("side is 40 pixels" in notes and f"crops are of {crop_size}" in notes) is said
    assert ("`++augmentations.0.crop_size=40`" in notes) is said


def test_the_shared_yamls_key_is_named(on_folder: Make, folder: Path, augmentation: Make) -> None:
    cfg = on_folder(folder)
    cfg.two_views = {"crop_size": 224}
    cfg.augmentations = [augmentation(crop_size=224)]
    assert "`++two_views.crop_size=40` takes crops of 40" in _notes(cfg)


def test_the_median_of_a_sample_is_measured(on_folder: Make, tmp_path: Path) -> None:
    (tmp_path / "images" / "one").mkdir(parents=True)
    for index in range(200):
        side = 20 if index < 110 else 300
        Image.new("RGB", (side, 400)).save(tmp_path / "images" / "one" / f"{index:03}.png")
    scan = PretrainDataModule(parse_cfg(on_folder(tmp_path / "images"))[0]).train_scan
    assert scan.typical_side() == 20
    assert scan.typical_side(sample=1) == 20


@pytest.mark.usefixtures("lightning_quiet")
def test_a_run_says_how_images_are_normalised(
    on_folder: Make, folder: Path, capsys: pytest.CaptureFixture, augmentation: Make
) -> None:
    cfg = on_folder(folder, val_path=str(folder))
    (folder / "first" / ".DS_Store").touch()
    pretrain(cfg)
    out = capsys.readouterr().out
    # ImageNet's
    assert "by mean 0.485, 0.456, 0.406 and standard deviation 0.229, 0.224, 0.225." in out
    assert "1 entry is left out" in out
    cfg.augmentations = [augmentation(mean=[0.1, 0.2, 0.3], std=[0.5] * 3)]
    assert "by mean 0.1, 0.2, 0.3 and standard deviation 0.5, 0.5, 0.5." in _notes(cfg)
