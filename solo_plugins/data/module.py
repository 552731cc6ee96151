# SPDX-License-Identifier: MIT
"""One Lightning data module for every dataset and format that a configuration can name."""

__all__ = ["PretrainDataModule", "num_workers"]

import os
from collections.abc import Callable, Iterable, Sized
from functools import cached_property
from http.client import HTTPException
from pathlib import Path
from typing import Any, cast

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig
from torch.utils.data import Dataset, DistributedSampler
from torchvision import datasets
from typing_extensions import override

from solo_plugins.data.dali import DaliLoader, Place
from solo_plugins.data.datasets import (
    DATASETS,
    DatasetInfo,
    download,
    has_class_folders,
    with_normalization,
)
from solo_plugins.data.digits import Digits
from solo_plugins.data.encoded import EncodedFiles
from solo_plugins.data.files import ImageFiles
from solo_plugins.data.folder import FolderScan, scan_folder
from solo_plugins.data.fraction import keep_fraction
from solo_plugins.data.loader import EpochSeededLoader, QuietLoader
from solo_plugins.data.notes import class_notes, normalization_note, size_note
from solo_plugins.data.peers import end_peers
from solo_plugins.data.pixels import Pixels
from solo_plugins.data.steps import check_steps
from solo_plugins.data.transforms import dali_crops, eval_transform
from solo_plugins.errors import ConfigurationError
from solo_plugins.framework import (
    FullTransformPipeline,
    NCropAugmentation,
    build_transform_pipeline,
    dataset_with_index,
    prepare_datasets,
)


class PretrainDataModule(pl.LightningDataModule):
    """Training crops and validation images of one configuration.

    Args:
        cfg: the parsed configuration; ``data``, ``augmentations``, ``dali``, ``seed`` and
            ``optimizer.batch_size`` are read.
    """

    def __init__(self, cfg: DictConfig) -> None:
        super().__init__()
        self.cfg = cfg

    @property
    def info(self) -> DatasetInfo:
        """The data set's row of the table."""
        return DATASETS[self.cfg.data.dataset]

    def prepare_data(self) -> None:
        """Download what is missing, in one process.

        Raises:
            ConfigurationError: if the download fails; an empty folder that it made is removed.
        """
        data = self.cfg.data
        for key in ("train_path", "val_path"):
            root = data[key] or data.train_path
            try:
                download(data.dataset, str(root))
            except (OSError, RuntimeError, HTTPException) as error:
                inside = Path(root).name == getattr(self.info.download, "base_folder", None)
                hint = f" Did you mean {str(Path(root).parent)!r}?" if inside else ""
                raise ConfigurationError(
                    f"Expected `data.{key}` to hold {data.dataset}, or the Internet to download it "
                    f"from, but got {str(root)!r} and: {error}.{hint}"
                ) from error

    @property
    def validates(self) -> bool:
        """Whether there is anything to validate on, from the configuration alone."""
        data = self.cfg.data
        return self.info.own_split or not (data.no_labels or data.val_path is None)

    def check(self, num_processes: int = 1) -> None:
        """Download and build everything once, so that errors show before a run starts.

        The other processes wait for the first one's download in Lightning's own order.

        Args:
            num_processes: devices times nodes.

        Raises:
            ConfigurationError: if data are missing, or an epoch would have no step.
        """
        if self.info.download is not None and rank_zero_only.rank:  # type: ignore[attr-defined]
            return
        self.prepare_data()
        check_steps(self.num_train_images, self.cfg, num_processes)
        _ = self.val_set

    @property
    def notes(self) -> list[str]:
        """What a person should know of a folder of images, a line each."""
        data = self.cfg.data
        if self.info.bundled and (data.train_path or data.val_path):
            return [
                f"`data.train_path` and `data.val_path` are not read: {data.dataset} need no "
                "files. `++data.dataset=custom` trains on a folder of images."
            ]
        if not self.info.image_folder:
            return []
        notes = list(self.train_scan.notes) if self.reads_files else []
        if self.validates:
            notes += self.val_scan.notes
            notes += class_notes(self.classes, self.val_scan.classes)
        elif data.val_path is not None:
            notes.append("`data.val_path` is not read: without labels nothing is validated.")
        if self.info.num_classes is None:
            notes.append(normalization_note(self._augmentations[0]))
        return notes + self._size_notes()

    def _size_notes(self) -> list[str]:
        own = self.reads_files and self.info.num_classes is None
        return size_note(self.train_scan, self.cfg) if own else []

    @cached_property
    def train_transform(self) -> Callable:
        """The augmentations: a function of a PIL image that gives a list of crops."""
        return FullTransformPipeline(
            [
                NCropAugmentation(
                    build_transform_pipeline(self.cfg.data.dataset, aug), aug.num_crops
                )
                for aug in self._augmentations
            ]
        )

    @property
    def _augmentations(self) -> list[DictConfig]:
        dataset = self.cfg.data.dataset
        return [with_normalization(dataset, aug) for aug in self.cfg.augmentations]

    @cached_property
    def train_set(self) -> Dataset:
        """The training set, of (index, list of crops, target)."""
        data, transform = self.cfg.data, self.train_transform
        if self.info.bundled:
            return dataset_with_index(Digits)(train=True, transform=transform)
        if self.reads_files:
            paths, targets = self._train_files
            kind = dataset_with_index(ImageFiles)
            return kind(paths, targets, transform, preload=data.preload)
        return prepare_datasets(
            data.dataset,
            transform,
            train_data_path=data.train_path,
            data_format=data.format,
            no_labels=data.no_labels,
        )

    @property
    def reads_files(self) -> bool:
        """Whether training images are files of their own."""
        folder = self.info.image_folder and self.cfg.data.format != "h5"
        return folder or not self.info.labelled

    @cached_property
    def _train_files(self) -> tuple[list[str], list[int]]:
        data = self.cfg.data
        if not self.info.labelled:
            found: Any = datasets.CelebA(data.train_path, split="train", target_type="identity")
            folder = Path(found.root, found.base_folder, "img_align_celeba")
            paths = [str(folder / name) for name in found.filename]
            return paths, [-1] * len(paths)
        scan = self.train_scan
        targets = [-1] * len(scan.names) if data.no_labels else scan.targets()
        if data.fraction > 0:
            return keep_fraction(scan.paths, targets, data.fraction)
        return scan.paths, targets

    @cached_property
    def train_scan(self) -> FolderScan:
        """What the folder of training images holds, if they lie in one."""
        data = self.cfg.data
        return scan_folder(
            data.train_path,
            labelled=has_class_folders(data),
            fingerprint=data.get("train_fingerprint"),
        )

    @cached_property
    def val_scan(self) -> FolderScan:
        """What the folder of validation images holds, if they lie in one."""
        data = self.cfg.data
        return scan_folder(
            data.val_path,
            labelled=True,
            key="data.val_path",
            fingerprint=data.get("val_fingerprint"),
        )

    @property
    def num_train_images(self) -> int:
        """The number of training images."""
        if self.reads_files:
            return len(self._train_files[0])
        return len(cast("Sized", self.train_set))

    @cached_property
    def val_set(self) -> Dataset | None:
        """The validation set, of (image, target), or None without labels or ``data.val_path``."""
        if not self.validates:
            return None
        return self._labelled(train=False, transform=eval_transform(self.cfg))

    def _labelled(self, *, train: bool, transform: Callable) -> Dataset:
        data = self.cfg.data
        if self.info.open is not None:
            root = data.train_path if train else data.val_path or data.train_path
            return self.info.open(root, train, transform)
        scan = self.train_scan if train else self.val_scan
        targets = scan.targets(self.classes)
        return ImageFiles(scan.paths, targets, transform, preload=data.preload)

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of a folder's training classes; an image's label is its class's place here."""
        if self.reads_files:
            return self.train_scan.classes
        found: Any = self.train_set
        # solo-learn's H5Dataset keeps names and labels in these alone
        labels = {name: label for name, _, label in found._data}
        return tuple(sorted(labels, key=labels.__getitem__))

    @override
    def on_exception(self, exception: BaseException) -> None:
        end_peers(self.trainer, exception)

    @override
    def train_dataloader(self) -> Iterable:
        cfg = self.cfg
        rank, world_size = self._process
        settings = {"seed": cfg.seed, "rank": rank, "world_size": world_size}
        if cfg.data.format == "dali":
            crops = dali_crops(cfg, self._augmentations)
            images = self.dali_images(train=True)
            return DaliLoader(images, crops, cfg.optimizer.batch_size, self._place, **settings)
        settings |= {"num_workers": num_workers(cfg), "draws": self._draws}
        return EpochSeededLoader(self.train_set, cfg.optimizer.batch_size, **settings)

    @property
    def _draws(self) -> bool:
        """Whether training images are augmented by random numbers."""
        return True

    @property
    def _process(self) -> tuple[int, int]:
        """This process's number, and how many there are."""
        trainer = self.trainer
        return (0, 1) if trainer is None else (trainer.global_rank, trainer.world_size)

    @property
    def _place(self) -> Place:
        """Where DALI runs: on the GPU that this process trains on, or on the CPU."""
        threads = max(1, num_workers(self.cfg))
        if self.cfg.dali.device == "cpu":
            return Place("cpu", None, threads)
        device = None if self.trainer is None else self.trainer.strategy.root_device.index
        return Place("gpu", device or 0, threads)

    def dali_images(self, *, train: bool) -> Pixels | EncodedFiles:
        """Give the images that DALI is to augment, from memory if the data set lies there.

        Args:
            train: the training images, which alone there are here.

        Raises:
            ConfigurationError: for images in memory of several sizes.
        """
        if self.info.pixels is not None:
            return Pixels(*self.info.pixels(self.train_set))
        return EncodedFiles(*self._train_files, preload=self.cfg.data.preload)

    @override
    def val_dataloader(self) -> Iterable:
        dataset = self.val_set
        if dataset is None:
            return []
        sampler: DistributedSampler | None = None
        rank, world_size = self._process
        if world_size > 1:
            sampler = DistributedSampler(dataset, world_size, rank, shuffle=False)
        return QuietLoader(
            dataset,
            batch_size=self.cfg.optimizer.batch_size,
            sampler=sampler,
            num_workers=num_workers(self.cfg),
            pin_memory=torch.cuda.is_available(),
        )


def num_workers(cfg: DictConfig) -> int:
    """Bound ``data.num_workers`` by the cores that this process may use.

    Args:
        cfg: the configuration.

    Returns:
        The number of loading processes.
    """
    return min(cfg.data.num_workers, _usable_cores())


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # macOS binds no process to cores
