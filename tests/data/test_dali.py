# SPDX-License-Identifier: MIT
"""DALI's loaders: order, draws, shards, places within an epoch, and what is refused."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from PIL import Image

from solo_plugins.args.pretrain import parse_cfg
from solo_plugins.data import LabelledDataModule, PretrainDataModule, dali
from solo_plugins.data.dali import DaliLoader, OrderedDaliLoader, Place
from solo_plugins.data.datasets import DATASETS
from solo_plugins.data.digits import Digits
from solo_plugins.data.encoded import EncodedFiles
from solo_plugins.data.loader import EpochSeededLoader
from solo_plugins.data.pixels import Pixels
from solo_plugins.data.transforms import dali_crops
from solo_plugins.errors import ConfigurationError
from solo_plugins.framework import release

pytest.importorskip("nvidia.dali")

Make = Callable[..., DictConfig]
_RNG = np.random.default_rng(0)
PIXELS = _RNG.integers(0, 256, (43, 12, 12, 3), dtype=np.uint8)


@pytest.fixture
def transform(augmentation: Callable) -> Any:
    """Return two large crops, and one small one that is augmented otherwise."""
    shared = {"mean": [0.5] * 3, "std": [0.25] * 3, "gaussian_blur": {"prob": 0.5}}
    small = {"solarization": {"prob": 0.5}, "grayscale": {"prob": 0.5}, "crop_size": 6}
    entries = [augmentation(**shared, crop_size=8), augmentation(**shared, **small, num_crops=1)]
    cfg = OmegaConf.create({"data": {"dataset": "custom"}, "dali": {"device": "cpu"}})
    return dali_crops(cfg, [OmegaConf.create(entry) for entry in entries])


@pytest.fixture(params=["memory", "files", "preloaded"])
def images(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Return images in memory, on disk, or as files in memory."""
    targets = list(range(len(PIXELS)))
    if request.param == "memory":
        return Pixels(PIXELS, targets)
    paths = [str(tmp_path / f"{index}.png") for index in targets]
    for path, pixels in zip(paths, PIXELS, strict=True):
        Image.fromarray(pixels).save(path)
    return EncodedFiles(paths, targets, preload=request.param == "preloaded")


def _epoch(
    images: Any,
    transform: Any,
    epoch: int = 0,
    *,
    begin: int = 0,
    threads: int = 1,
    **settings: Any,
) -> list[Any]:
    loader = DaliLoader(images, transform, 4, Place("cpu", None, threads), **settings)
    loader.sampler.set_epoch(epoch)
    loader.load_state_dict({"position": begin})
    return list(loader)


def _equal(first: list[Any], second: list[Any]) -> bool:
    pairs = zip(first, second, strict=True)
    return all(
        torch.equal(a[0], b[0])
        and torch.equal(a[2], b[2])
        and all(torch.equal(x, y) for x, y in zip(a[1], b[1], strict=True))
        for a, b in pairs
    )


def test_an_epoch_goes_on_from_any_batch_with_any_number_of_threads(
    images: Any, transform: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dali, "BLOCK", 4)
    whole = _epoch(images, transform, 3)
    assert [tuple(crop.shape) for crop in whole[0][1]] == [(4, 3, 8, 8)] * 2 + [(4, 3, 6, 6)]
    assert len(whole) == 10
    for begin in (1, 4, 7):
        again = _epoch(images, transform, 3, begin=begin, threads=2)
        assert _equal(again, whole[begin:])


def test_memory_and_files_give_the_same_crops(images: Any, transform: Any) -> None:
    memory = Pixels(PIXELS, list(range(len(PIXELS))))
    assert _equal(_epoch(images, transform), _epoch(memory, transform))


def test_the_order_is_that_of_the_loader_without_dali(transform: Any) -> None:
    images = Pixels(PIXELS, list(range(len(PIXELS))))
    judge = EpochSeededLoader(list(range(len(PIXELS))), 4, seed=7)
    judge.sampler.set_epoch(2)
    found = _epoch(images, transform, 2, seed=7)
    wanted = torch.stack(list(judge))
    assert torch.equal(torch.stack([index for index, _, _ in found]), wanted)
    assert torch.equal(torch.stack([targets for _, _, targets in found]), wanted)


@pytest.mark.parametrize("other", [{"epoch": 1}, {"seed": 1}, {"rank": 1, "world_size": 2}])
def test_draws_depend_on_seed_epoch_and_process(other: dict, transform: Any) -> None:
    same = Pixels(np.broadcast_to(PIXELS[0], PIXELS.shape), [0] * len(PIXELS))
    first, second = _epoch(same, transform)[0], _epoch(same, transform, **other)[0]
    assert not torch.equal(first[1][0], second[1][0])


def test_blocks_and_views_draw_apart(transform: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dali, "BLOCK", 1)
    same = Pixels(np.broadcast_to(PIXELS[0], PIXELS.shape), [0] * len(PIXELS))
    crops = [view for _, views, _ in _epoch(same, transform) for view in views[:2]]
    assert len({view.numpy().tobytes() for view in torch.cat(crops)}) > 75  # of 80


def test_batches_stay_as_they_are(transform: Any) -> None:
    # Lightning fetches a batch before it is done with the last one
    loader = DaliLoader(Pixels(PIXELS, [0] * len(PIXELS)), transform, 4, Place("cpu"))
    held, copies = [], []
    for _, crops, _ in loader:
        held.append(crops[0])
        copies.append(crops[0].clone())
    assert torch.equal(torch.stack(held), torch.stack(copies))


@pytest.mark.parametrize("number", [500, 1000, 1001])
def test_three_processes_share_the_images(number: int, transform: Any) -> None:
    images = Pixels(np.zeros((number, 2, 2, 3), np.uint8), list(range(number)))
    loaders = [
        DaliLoader(images, transform, 32, Place("cpu"), rank=r, world_size=3) for r in (0, 1, 2)
    ]
    found = [torch.cat([index for index, _, _ in loader]).tolist() for loader in loaders]
    assert [len(part) for part in found] == [number // 3 // 32 * 32] * 3
    assert len({index for part in found for index in part}) == sum(map(len, found))


@pytest.mark.usefixtures("methods")
@pytest.mark.parametrize("name", ["cifar10", "cifar100", "stl10", "digits"])
def test_data_sets_in_memory_are_the_same_by_dali(
    name: str, make_cfg: Make, tmp_path: Path, downloaded: Callable
) -> None:
    data = {"dataset": name, "format": "dali"}
    if name != "digits":
        downloaded(name, tmp_path / "data")
        data["train_path"] = str(tmp_path / "data")
    module = PretrainDataModule(parse_cfg(make_cfg(data=data))[0])
    images, judge = module.dali_images(train=True), module.train_set
    judge.transform = None
    for index in (0, 1, len(images) - 1):
        _, image, target = judge[index]
        assert np.array_equal(images.pixels[index], np.asarray(image))
        assert images.targets[index] == target
    index, crops, targets = next(iter(module.train_dataloader()))
    assert [tuple(crop.shape) for crop in crops] == [(16, 3, 32, 32)] * 2
    assert targets.tolist() == [images.targets[i] for i in index]


def _smooth(folder: Path) -> Path:
    """Write 10 smooth square images, in which half a pixel of rounding is not seen."""
    for index in range(10):
        y, x = np.mgrid[: 50 + 3 * index, : 50 + 3 * index]
        waves = [np.sin(x / 9 + index), np.cos(y / 11), np.sin((x + y) / 13)]
        pixels = np.stack([127 + 100 * wave for wave in waves], axis=-1).astype(np.uint8)
        (folder / f"{index % 2}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / f"{index % 2}" / f"{index}.png")
    return folder


def _labelled(cfg: DictConfig, image_format: str, *, augment: bool) -> LabelledDataModule:
    cfg = cfg.copy()
    cfg.auto_augment, cfg.data.format = False, image_format
    cfg.dali = {"device": "cpu"}
    return LabelledDataModule(cfg, augment=augment)


@pytest.mark.usefixtures("methods")
@pytest.mark.parametrize("dataset", ["custom", "digits"])
def test_evaluation_sees_the_same_images_by_dali(
    dataset: str, on_folder: Make, make_cfg: Make, tmp_path: Path
) -> None:
    if dataset == "custom":
        root = str(_smooth(tmp_path / "images"))
        cfg, _ = parse_cfg(on_folder(Path(root), val_path=root))
        cfg.optimizer.batch_size = 4
        cfg.augmentations[0].crop_size = 28  # of 32: the middle is a whole number of pixels away
    else:
        cfg, _ = parse_cfg(make_cfg(optimizer__batch_size=100))
    by_dali, by_pil = (_labelled(cfg, name, augment=False) for name in ("dali", "image_folder"))
    for train in (True, False):
        pairs = list(
            zip(by_dali.every_image(train=train), by_pil.every_image(train=train), strict=True)
        )
        for (images, targets), (wanted, labels) in pairs:
            assert torch.equal(targets, labels)
            assert images.shape == wanted.shape
            # of a standard deviation of about 1
            assert (images - wanted).abs().mean() < 0.02
    val = list(by_dali.val_dataloader())
    assert len(val) == len(by_dali.val_dataloader())
    train_images, train_targets = next(iter(by_dali.train_dataloader()))
    assert train_images.shape[1:] == wanted.shape[1:]
    assert train_targets.dtype == torch.long


@pytest.mark.usefixtures("methods")
def test_linear_evaluation_augments_by_dali_and_repeats(on_folder: Make, tmp_path: Path) -> None:
    root = _smooth(tmp_path / "images")
    cfg, _ = parse_cfg(on_folder(root, val_path=str(root)))
    cfg.optimizer.batch_size = 5
    first, second, still = (
        next(iter(_labelled(cfg, "dali", augment=augment).train_dataloader()))
        for augment in (True, True, False)
    )
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], still[1])
    assert not torch.equal(first[0], still[0])


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        ([np.zeros((8, 8, 3), np.uint8), np.zeros((9, 8, 3), np.uint8)], r"8 x 8 x 3, 9 x 8 x 3"),
        ([], r"one size .* got no image"),
        (np.zeros((2, 8, 8, 3)), r"8 bits .* got float64 \(2, 8, 8, 3\)"),
        (np.zeros((2, 3, 8, 8), np.uint8), r"\(N, H, W, 3\) .* got uint8 \(2, 3, 8, 8\)"),
    ],
    ids=["mixed", "none", "float", "channels"],
)
def test_images_in_memory_have_one_size_and_8_bits(pixels: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Pixels(pixels, [0] * len(pixels))


@pytest.mark.usefixtures("methods")
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"equalization": {"prob": 0.1}}, r"`augmentations\[0\].equalization.prob` to be 0 .* 0.1"),
        pytest.param(
            {"rrc": {"enabled": False}},
            r"`augmentations\[0\].rrc.enabled` to be True .* got False",
            marks=pytest.mark.skipif(release() == "main", reason="main's transforms can"),
        ),
    ],
    ids=["equalization", "crop"],
)
def test_what_the_transforms_lack_is_refused_by_name(
    settings: dict, message: str, make_cfg: Make, augmentation: Callable
) -> None:
    cfg = make_cfg(data__format="dali", augmentations=[augmentation(**settings)])
    with pytest.raises(ConfigurationError, match=message):
        parse_cfg(cfg)


@pytest.mark.usefixtures("methods")
def test_a_gpu_that_is_not_there_is_refused(make_cfg: Make) -> None:
    with pytest.raises(ConfigurationError, match=r"`dali.device` to be cpu, .* but got 'gpu'"):
        parse_cfg(make_cfg(data__format="dali", dali__device="gpu"))
    cfg, _ = parse_cfg(make_cfg(data__format="dali"))
    assert cfg.dali.device == "cpu"
    cfg, _ = parse_cfg(make_cfg(dali__device="gpu"))  # which nothing reads
    assert cfg.data.format == "image_folder"


@pytest.mark.usefixtures("methods")
def test_dali_that_is_missing_is_said_at_the_start(
    make_cfg: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "nvidia.dali.plugin.pytorch", None)
    with pytest.raises(ConfigurationError, match=r"`data.format: dali` but it cannot be imported"):
        parse_cfg(make_cfg(data__format="dali"))


def test_every_data_set_can_be_read_by_dali() -> None:
    for info in DATASETS.values():
        assert info.pixels or info.image_folder or info.downstream or not info.labelled


def test_an_order_is_complete_with_its_last_batch(transform: Any) -> None:
    digits = Digits(train=False)
    images = Pixels(digits.images[..., None].repeat(3, axis=3), digits.targets)
    loader = OrderedDaliLoader(images, transform, 100, Place("cpu"))
    found = torch.cat([targets for _, targets in loader])
    assert len(loader) == 4
    assert found.tolist() == list(digits.targets)
