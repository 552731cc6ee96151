# SPDX-License-Identifier: MIT
"""An epoch without a step is refused, whatever reads the images and however many processes."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig, OmegaConf
from torch.utils.data import DataLoader

from solo_plugins.args.pretrain import parse_cfg
from solo_plugins.data import PretrainDataModule
from solo_plugins.data.dali import DaliLoader, Place
from solo_plugins.data.loader import EpochSeededLoader
from solo_plugins.data.steps import check_steps
from solo_plugins.data.transforms import dali_crops
from solo_plugins.errors import ConfigurationError
from solo_plugins.training.pretrain import pretrain

Make = Callable[..., DictConfig]


def _has_steps(num_images: int, num_processes: int, batch_size: int, **settings: Any) -> bool:
    cfg = OmegaConf.create({"optimizer": {"batch_size": batch_size}, **settings})
    try:
        check_steps(num_images, cfg, num_processes)
    except ConfigurationError:
        return False
    return True


@pytest.mark.parametrize("num_images", [7, 8, 15, 16, 17, 24, 31])
@pytest.mark.parametrize("num_processes", [1, 2, 3])
def test_steps_are_those_of_the_loaders(num_images: int, num_processes: int) -> None:
    loaders = [
        EpochSeededLoader(list(range(num_images)), 8, rank=rank, world_size=num_processes)
        for rank in range(num_processes)
    ]
    lengths = {len(loader) for loader in loaders}
    assert len(lengths) == 1
    assert _has_steps(num_images, num_processes, 8) == (lengths != {0})


@pytest.mark.usefixtures("methods")
@pytest.mark.parametrize("num_processes", [1, 2, 3])
def test_steps_are_those_of_dali(num_processes: int, on_folder: Make, folder: Path) -> None:
    pytest.importorskip("nvidia.dali")
    cfg, _ = parse_cfg(on_folder(folder, format="dali"))
    module = PretrainDataModule(cfg)
    images = module.dali_images(train=True)
    crops = dali_crops(cfg, module._augmentations)
    loader = DaliLoader(images, crops, 8, Place("cpu"), world_size=num_processes)
    assert len(list(loader)) == len(loader)
    assert _has_steps(24, num_processes, 8) == (len(loader) > 0)
    assert not _has_steps(24, 4, 8)


class _Counts(LightningModule):
    """Counts the steps that Lightning takes."""

    seen = 0

    def training_step(self, *_: Any) -> None:
        self.seen += 1

    def configure_optimizers(self) -> None:
        return None


@pytest.mark.usefixtures("lightning_quiet")
@pytest.mark.parametrize(
    "settings",
    [
        {"limit_train_batches": 0},
        {"limit_train_batches": 0.0},
        {"limit_train_batches": 0.2},
        {"limit_train_batches": 0.5},
        {"limit_train_batches": 1},
        {"limit_train_batches": 1.0},
        {"limit_train_batches": 0, "overfit_batches": 1},
        {"overfit_batches": 0.1},
        {"limit_train_batches": 0, "fast_dev_run": True},
        {"max_steps": 0},
        {"max_steps": -1},
    ],
    ids=str,
)
def test_settings_that_cut_a_run_short_count_as_lightning_counts(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    trainer = Trainer(
        **settings, max_epochs=1, accelerator="cpu", logger=False, default_root_dir=tmp_path,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    model = _Counts()
    with suppress(MisconfigurationException):  # of a fraction that is less than one step
        trainer.fit(model, DataLoader(list(range(32)), batch_size=8))
    assert _has_steps(32, 1, 8, **settings) == (model.seen > 0)


@pytest.mark.usefixtures("methods")
@pytest.mark.parametrize("image_format", ["image_folder", "dali", "digits"])
def test_a_run_without_a_step_is_refused_and_nothing_is_written(
    image_format: str, on_folder: Make, make_cfg: Make, folder: Path, tmp_path: Path
) -> None:
    cfg = on_folder(folder, format=image_format)
    images = 24
    if image_format == "digits":
        cfg, images = make_cfg(), 1437
    cfg.optimizer.batch_size = images // 2 + 1
    cfg.devices = 2
    with pytest.raises(ConfigurationError, match=rf", {images}, but got {images // 2 + 1} times 2"):
        pretrain(cfg)
    assert not (tmp_path / "runs").exists()


@pytest.mark.usefixtures("methods")
@pytest.mark.parametrize("image_format", ["image_folder", "dali"])
@pytest.mark.parametrize("fraction", [0.05, 0.99])
def test_a_fraction_that_leaves_a_class_nothing_is_refused(
    fraction: float, image_format: str, on_folder: Make, folder: Path
) -> None:
    cfg, _ = parse_cfg(on_folder(folder, format=image_format, fraction=fraction))
    with pytest.raises(
        ConfigurationError, match=rf"`data.fraction` .* {fraction} of 24 images in 2"
    ):
        PretrainDataModule(cfg).check()


@pytest.mark.usefixtures("methods")
@pytest.mark.parametrize("image_format", ["image_folder", "dali"])
def test_a_small_class_is_not_lost_to_a_fraction_without_a_word(
    image_format: str, on_folder: Make, folder: Path
) -> None:
    for index in range(3, 12):
        (folder / "second" / f"{index}.png").unlink()
    (folder / "second" / "2.png").unlink()
    cfg, _ = parse_cfg(on_folder(folder, format=image_format, fraction=0.2))
    with pytest.raises(
        ConfigurationError, match=r"in 2 classes, of which number 1 would have none"
    ):
        PretrainDataModule(cfg).check()


@pytest.mark.usefixtures("methods")
def test_a_fraction_of_less_than_a_batch_is_refused(on_folder: Make, folder: Path) -> None:
    cfg, _ = parse_cfg(on_folder(folder, fraction=0.25))
    with pytest.raises(ConfigurationError, match=r"training images, 6, but got 8 times 1"):
        PretrainDataModule(cfg).check()
