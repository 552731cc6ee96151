# SPDX-License-Identifier: MIT
"""Datasets, crops and loaders, DALI included."""

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from PIL import Image
from sklearn.datasets import load_digits
from torchvision.datasets import CelebA

from solo_plugins.args.pretrain import parse_cfg
from solo_plugins.data import Digits, PretrainDataModule
from solo_plugins.data.datasets import with_normalization
from solo_plugins.data.loader import EpochSeededLoader, seed_all
from solo_plugins.data.module import num_workers
from solo_plugins.data.transforms import eval_transform
from solo_plugins.framework import build_transform_pipeline
from solo_plugins.training.pretrain import pretrain

Make = Callable[..., DictConfig]


def test_digits_are_scikit_learns() -> None:
    images, targets = load_digits(return_X_y=True)
    train, test = Digits(train=True), Digits(train=False)
    assert len(train) + len(test) == len(images)
    assert sorted([*train.targets, *test.targets]) == sorted(targets)
    seen = {np.asarray(image)[..., 0].tobytes() for part in (train, test) for image, _ in part}
    wanted = {np.round(row.reshape(8, 8) * 255 / 16).astype(np.uint8).tobytes() for row in images}
    assert seen == wanted


@pytest.mark.usefixtures("methods")
def test_a_batch_has_all_crops_of_both_sizes(make_cfg: Make, augmentation: Callable) -> None:
    entries = [augmentation(num_crops=2), augmentation(num_crops=3, crop_size=16)]
    cfg, _ = parse_cfg(make_cfg(augmentations=entries))
    index, crops, targets = next(iter(PretrainDataModule(cfg).train_dataloader()))
    assert [tuple(crop.shape[1:]) for crop in crops] == [(3, 32, 32)] * 2 + [(3, 16, 16)] * 3
    assert index.shape == targets.shape == (16,)


@pytest.mark.usefixtures("methods")
def test_asymmetric_augmentations_stay_in_order(make_cfg: Make, augmentation: Callable) -> None:
    still = {"rrc": {"enabled": False}, "color_jitter": {"prob": 0.0}, "num_crops": 1}
    entries = [augmentation(**still), augmentation(**still, solarization={"prob": 1.0})]
    cfg, _ = parse_cfg(make_cfg(augmentations=entries))
    _, (plain, solarized), _ = next(iter(PretrainDataModule(cfg).train_dataloader()))
    mean, std = (
        torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )
    first, second = plain * std + mean, solarized * std + mean
    bright = first > 0.52
    torch.testing.assert_close(second[bright], 1 - first[bright], atol=1e-5, rtol=0)


def _build(entry: Any) -> Callable:
    filled = with_normalization("cifar100", OmegaConf.create(entry))
    return build_transform_pipeline("cifar100", filled)


@pytest.mark.parametrize(
    "operation",
    [
        "color_jitter",
        "grayscale",
        "gaussian_blur",
        "solarization",
        "equalization",
        "horizontal_flip",
    ],
)
def test_every_operation_changes_the_image(operation: str, augmentation: Callable) -> None:
    seed_all(0)  # a radius of the blur may be too small to change anything
    off = {"rrc": {"enabled": False}, "color_jitter": {"prob": 0.0}}
    strong = {"prob": 1.0, "brightness": 0.8, "contrast": 0.8, "saturation": 0.8, "hue": 0.2}
    image = Digits(train=False)[0][0].resize((32, 32))
    pixels = np.asarray(image).astype(np.float32) * [[[1.0, 0.5, 0.25]]]
    image = Image.fromarray(pixels.astype(np.uint8))
    plain = _build(augmentation(**off))(image)
    changed = augmentation(**{**off, operation: strong})
    out = _build(changed)(image)
    assert out.shape == (3, 32, 32)
    assert not torch.allclose(plain, out)


def test_cifar100_is_normalised_by_its_own_statistics(augmentation: Callable) -> None:
    # train and validation images alike; solo-learn 1.0.2 takes CIFAR-10's
    entry = OmegaConf.create(
        augmentation(rrc={"enabled": False}, color_jitter={"prob": 0.0}, num_crops=1)
    )
    cfg = OmegaConf.create({"data": {"dataset": "cifar100"}, "augmentations": [entry]})
    mean = [0.5071, 0.4865, 0.4409]
    grey = Image.fromarray(np.round(np.full((32, 32, 3), mean) * 255).astype(np.uint8))
    for transform in (_build(entry), eval_transform(cfg)):
        assert transform(grey).abs().max() < 0.01


@pytest.mark.parametrize(("size", "resized"), [(224, 256), (96, 110)])
def test_validation_images_of_folders_are_cropped_as_usual(
    size: int, resized: int, augmentation: Callable
) -> None:
    entry = OmegaConf.create(augmentation(crop_size=size))
    cfg = OmegaConf.create({"data": {"dataset": "imagenet100"}, "augmentations": [entry]})
    transform = eval_transform(cfg)
    assert transform.transforms[0].size == resized
    assert transform(Image.new("RGB", (300, 400))).shape == (3, size, size)


@pytest.mark.parametrize("dataset", ["custom", "cifar10"])
def test_validation_images_are_resized_and_normalised_as_those_of_training(
    dataset: str, augmentation: Callable
) -> None:
    still = {"rrc": {"enabled": False}, "color_jitter": {"prob": 0.0}, "mean": [0.1, 0.2, 0.3]}
    entry = OmegaConf.create(augmentation(**still, std=[0.5] * 3, num_crops=1))
    cfg = OmegaConf.create({"data": {"dataset": dataset}, "augmentations": [entry]})
    pixels = np.random.default_rng(0).integers(0, 256, (90, 90, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    # PIL is the judge of the first, solo-learn's own pipeline that of the second
    resized = image.resize((37, 37), Image.Resampling.BICUBIC).crop((2, 2, 34, 34))
    wanted = build_transform_pipeline(dataset, with_normalization(dataset, entry))(
        resized if dataset == "custom" else image
    )
    assert torch.equal(eval_transform(cfg)(image), wanted)


class _Numbers(torch.utils.data.Dataset):
    """Gives an item's index and a draw of torch's generator."""

    def __len__(self) -> int:
        return 40

    def __getitem__(self, index: int) -> tuple[int, float]:
        return index, torch.rand(()).item()


class _Processes(_Numbers):
    """Gives the number of the process that loads."""

    def __getitem__(self, index: int) -> int:
        return os.getpid()


def _epoch(epoch: int, **settings: Any) -> tuple[list[int], list[float]]:
    loader = EpochSeededLoader(_Numbers(), 4, **settings)
    loader.sampler.set_epoch(epoch)
    batches = list(loader)
    return torch.cat([i for i, _ in batches]).tolist(), torch.cat([r for _, r in batches]).tolist()


@pytest.mark.parametrize("num_workers", [0, 2])
def test_an_epoch_depends_on_seed_number_and_rank_only(num_workers: int) -> None:
    torch.manual_seed(123)
    first = _epoch(3, num_workers=num_workers)
    torch.manual_seed(456)
    assert _epoch(3, num_workers=num_workers) == first
    assert _epoch(4, num_workers=num_workers)[0] != first[0]
    assert _epoch(3, num_workers=num_workers, seed=1)[1] != first[1]


def test_images_draw_the_same_in_batches_of_any_size() -> None:
    drawn = []
    for batch_size in (4, 10):
        loader = EpochSeededLoader(_Numbers(), batch_size)
        drawn.append(dict(zip(*(torch.cat(part).tolist() for part in zip(*loader)), strict=True)))  # noqa: B905
    assert drawn[0] == drawn[1]
    assert len(set(drawn[0].values())) == 40


def test_seeds_of_images_leave_the_training_processs_random_numbers_as_they_are() -> None:
    def after_a_batch(*, draws: bool) -> tuple[float, ...]:
        seed_all(7)
        next(iter(EpochSeededLoader(list(range(40)), 4, draws=draws)))
        return random.random(), np.random.random(), torch.rand(()).item()

    assert after_a_batch(draws=True) == after_a_batch(draws=False)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_without_draws_images_come_in_the_same_order(num_workers: int) -> None:
    plain = EpochSeededLoader(_Numbers(), 4, num_workers=num_workers, draws=False)
    assert torch.cat([index for index, _ in plain]).tolist() == _epoch(0)[0]


def test_loading_processes_stay_from_epoch_to_epoch() -> None:
    loader = EpochSeededLoader(_Processes(), 4, num_workers=2)
    epochs = [torch.cat(list(loader)).unique().tolist() for _ in range(2)]
    assert epochs[0] == epochs[1]
    assert len(epochs[0]) == 2
    assert os.getpid() not in epochs[0]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_epochs_repeat_whatever_was_loaded_before(num_workers: int) -> None:
    loader = EpochSeededLoader(_Numbers(), 4, num_workers=num_workers)

    def epoch(number: int, begin: int = 0, batches: int = 10) -> list[float]:
        loader.sampler.set_epoch(number)
        loader.load_state_dict({"position": begin})
        return [value for _, (_, r) in zip(range(batches), loader) for value in r.tolist()]  # noqa: B905

    wanted = [_epoch(number, num_workers=0)[1] for number in range(3)]
    assert epoch(0) == wanted[0]
    assert epoch(1, batches=2) == wanted[1][:8]  # and then the epoch is left
    assert epoch(2, begin=3) == wanted[2][12:]
    assert epoch(1) == wanted[1]


def test_ranks_share_the_images_and_augment_differently() -> None:
    (first, draws), (second, others) = (_epoch(0, rank=rank, world_size=2) for rank in range(2))
    assert sorted(first + second) == list(range(40))
    assert draws != others


@pytest.mark.usefixtures("methods", "lightning_quiet")
@pytest.mark.parametrize("image_format", ["image_folder", "dali"])
@pytest.mark.parametrize("dataset", ["custom", "imagenet100"])
def test_image_folders_with_labels_train_and_validate(
    dataset: str, image_format: str, on_folder: Make, folder: Path
) -> None:
    cfg = on_folder(folder, dataset=dataset, val_path=str(folder), format=image_format)
    metrics = pretrain(cfg).metrics
    assert {"train_rdm_reg_loss_epoch", "val_acc1"} <= set(metrics)


@pytest.mark.usefixtures("methods", "lightning_quiet")
@pytest.mark.parametrize("image_format", ["image_folder", "dali"])
def test_image_folders_without_labels_train(
    image_format: str, on_folder: Make, folder: Path
) -> None:
    cfg = on_folder(folder / "first", no_labels=True, format=image_format)
    metrics = pretrain(cfg).metrics
    assert np.isfinite(metrics["train_rectified_lp_jepa_loss_epoch"])
    assert "val_acc1" not in metrics


@pytest.mark.usefixtures("methods")
def test_dali_gives_asymmetric_crops_of_two_sizes_and_the_right_labels(
    on_folder: Make, folder: Path, augmentation: Callable
) -> None:
    strong = {
        "solarization": {"prob": 0.5},
        "grayscale": {"prob": 0.5},
        "gaussian_blur": {"prob": 0.5},
    }
    entries = [augmentation(num_crops=2), augmentation(num_crops=1, crop_size=16, **strong)]
    cfg = on_folder(folder, format="dali")
    cfg.augmentations = entries
    cfg, _ = parse_cfg(cfg)
    loader = PretrainDataModule(cfg).train_dataloader()
    batches = list(loader)
    assert len(batches) == len(loader) == 3
    assert [crop.shape[-1] for crop in batches[0][1]] == [32, 32, 16]
    counted = torch.cat([targets for _, _, targets in batches]).bincount().tolist()
    assert counted == [12, 12]


@pytest.mark.usefixtures("methods")
def test_a_path_that_nothing_reads_is_said(make_cfg: Make, on_folder: Make, folder: Path) -> None:
    def notes(cfg: DictConfig) -> list[str]:
        return [note for note in PretrainDataModule(parse_cfg(cfg)[0]).notes if "not read" in note]

    assert notes(make_cfg()) == []
    for key in ("train_path", "val_path"):
        (note,) = notes(make_cfg(**{f"data__{key}": str(folder)}))
        assert "digits need no files. `++data.dataset=custom`" in note
    unlabelled = {"no_labels": True, "val_path": str(folder)}
    (note,) = notes(on_folder(folder / "first", **unlabelled))
    assert note.startswith("`data.val_path` is not read: without labels")
    assert notes(on_folder(folder, val_path=str(folder))) == []


@pytest.mark.usefixtures("methods")
def test_a_fraction_of_a_folder_is_stratified(on_folder: Make, folder: Path) -> None:
    cfg, _ = parse_cfg(on_folder(folder, fraction=0.5))
    targets = [target for _, _, target in PretrainDataModule(cfg).train_set]
    assert sorted(targets) == [0] * 6 + [1] * 6


def test_no_more_workers_than_cores(make_cfg: Make, methods: dict) -> None:
    cfg, _ = parse_cfg(make_cfg(data__num_workers=1000))
    loader = PretrainDataModule(cfg).train_dataloader()
    assert loader.num_workers == len(os.sched_getaffinity(0))


def test_a_system_that_binds_no_process_counts_all_cores(
    monkeypatch: pytest.MonkeyPatch, make_cfg: Make, methods: dict
) -> None:
    cfg, _ = parse_cfg(make_cfg(data__num_workers=1000))
    monkeypatch.delattr(os, "sched_getaffinity")
    assert num_workers(cfg) == os.cpu_count()


@pytest.mark.usefixtures("methods", "lightning_quiet")
@pytest.mark.parametrize("name", ["cifar10", "cifar100", "stl10"])
def test_torchvisions_data_sets_train_and_validate(
    name: str, make_cfg: Make, tmp_path: Path, downloaded: Callable
) -> None:
    downloaded(name, tmp_path / "data")
    cfg = make_cfg(
        data={"dataset": name, "train_path": str(tmp_path / "data"), "num_workers": 0},
        max_epochs=1,
        limit_train_batches=2,
    )
    metrics = pretrain(cfg).metrics
    assert {"train_rdm_reg_loss_epoch", "val_acc1"} <= set(metrics)


def _write_celeba(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write 32 images in CelebA's layout, without its checksums; the first 24 are to train on."""
    folder = root / "celeba"
    (folder / "img_align_celeba").mkdir(parents=True)
    names = [f"{index:06}.jpg" for index in range(1, 33)]
    for name in names:
        Image.new("RGB", (178, 218), (int(name[:6]), 0, 0)).save(folder / "img_align_celeba" / name)
    splits = [0] * 24 + [1] * 4 + [2] * 4
    rows = [f"{name} {split}" for name, split in zip(names, splits, strict=True)]
    (folder / "list_eval_partition.txt").write_text("\n".join(rows))
    (folder / "identity_CelebA.txt").write_text("\n".join(f"{name} 1" for name in names))
    for file, header in (("list_bbox_celeba.txt", "x_1 y_1"), ("list_attr_celeba.txt", "A B")):
        table = "\n".join(f"{name} 1 1" for name in names)
        (folder / file).write_text(f"32\n{header}\n{table}")
    landmarks = "\n".join(f"{name} 1 1" for name in names)
    (folder / "list_landmarks_align_celeba.txt").write_text(f"32\nA B\n{landmarks}")
    monkeypatch.setattr(CelebA, "_check_integrity", lambda _: True)


@pytest.mark.usefixtures("methods", "lightning_quiet")
def test_celeba_trains_on_its_training_images_without_labels(
    make_cfg: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write_celeba(tmp_path / "data", monkeypatch)
    data = {"dataset": "celeba", "train_path": str(tmp_path / "data"), "num_workers": 0}
    cfg = make_cfg(data=data, max_epochs=1, knn_eval__enabled=True)
    metrics = pretrain(cfg).metrics
    assert np.isfinite(metrics["train_rectified_lp_jepa_loss_epoch"])
    assert "val_acc1" not in metrics
    train_set = PretrainDataModule(parse_cfg(cfg)[0]).train_set
    assert [train_set[index][2] for index in range(len(train_set))] == [-1] * 24
