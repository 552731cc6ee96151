# SPDX-License-Identifier: MIT
"""`auto` is replaced by what fits a folder of images."""

from pathlib import Path

import numpy as np
import pytest
from omegaconf import DictConfig, OmegaConf
from PIL import Image

from solo_plugins.args.automatic import automatic
from solo_plugins.args.pretrain import parse_cfg
from solo_plugins.errors import ConfigurationError

pytestmark = pytest.mark.usefixtures("methods")


def _write(folder: Path, number: int, size: tuple[int, int] = (50, 60)) -> list[np.ndarray]:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(number)
    found = [rng.integers(0, 200, (size[1], size[0], 3), dtype=np.uint8) for _ in range(number)]
    for index, pixels in enumerate(found):
        Image.fromarray(pixels).save(folder / f"{index}.png")
    return found


def _asked(path: Path | None, **changes: object) -> DictConfig:
    given = {
        "data": {"dataset": "custom", "train_path": path and str(path), "no_labels": "auto"},
        "two_views": {"crop_size": "auto", "mean": "auto"},
        "augmentations": [
            {"crop_size": "${two_views.crop_size}", "mean": "${two_views.mean}", "std": "auto"},
            {"crop_size": 24},
        ],
        "optimizer": {"batch_size": "auto"},
        "knn_eval": {"k": "auto"},
    }
    return OmegaConf.merge(OmegaConf.create(given), OmegaConf.create(dict(changes)))


def test_what_fits_class_folders_is_chosen(tmp_path: Path) -> None:
    pixels = _write(tmp_path / "a", 9) + _write(tmp_path / "b", 300)
    asked = _asked(tmp_path)
    cfg, (note,) = automatic(asked)
    assert asked.optimizer.batch_size == "auto"
    assert cfg.data.no_labels is False
    assert [entry.crop_size for entry in cfg.augmentations] == [48, 24]
    assert (cfg.optimizer.batch_size, cfg.knn_eval.k) == (32, 9)
    values = np.stack(pixels).reshape(-1, 3) / 255
    np.testing.assert_allclose(cfg.augmentations[0]["mean"], values.mean(axis=0), atol=1e-4)
    np.testing.assert_allclose(cfg.augmentations[0]["std"], values.std(axis=0), atol=1e-4)
    for told in ("309 images", "2 classes", "crops of 48", "batches of 32", "9 neighbours"):
        assert told in note


def test_a_folder_of_images_has_no_labels(tmp_path: Path) -> None:
    _write(tmp_path, 12, (20, 20))
    cfg, (note,) = automatic(_asked(tmp_path))
    assert cfg.data.no_labels is True
    assert (cfg.augmentations[0].crop_size, cfg.optimizer.batch_size) == (32, 12)
    assert "no labels" in note


@pytest.mark.parametrize("path", [None, "", "nowhere", 3, True, -1e-300, [1], {"a": 1}], ids=str)
def test_what_is_no_folder_is_named(path: object) -> None:
    asked = _asked(None)
    OmegaConf.update(asked, "data.train_path", path)
    with pytest.raises(ConfigurationError, match=r"`data\.train_path` to be a folder of images"):
        automatic(asked)


def test_what_is_set_stays_and_an_auto_elsewhere_is_refused(
    tmp_path: Path, make_cfg: object
) -> None:
    _write(tmp_path / "a", 9)
    cfg, _ = automatic(_asked(tmp_path, optimizer={"batch_size": 3}, max_epochs="auto"))
    assert (cfg.optimizer.batch_size, cfg.max_epochs) == (3, "auto")
    with pytest.raises(ConfigurationError, match=r"`optimizer\.batch_size` to be .* got 'auto'"):
        parse_cfg(make_cfg(optimizer__batch_size="auto"))
