# SPDX-License-Identifier: MIT
"""One Lightning data module for every dataset and format that a configuration can name."""

__all__ = ["CLASSES", "UNLABELLED", "PretrainDataModule"]

import os
from collections.abc import Callable, Iterable
from functools import cached_property
from http.client import HTTPException
from pathlib import Path

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig
from torch.utils.data import DataLoader, Dataset, DistributedSampler
from torchvision import datasets
from torchvision import transforms as T

from solo_plugins.data.digits import Digits
from solo_plugins.data.loader import EpochSeededLoader
from solo_plugins.errors import ConfigurationError
from solo_plugins.framework import (
    FullTransformPipeline,
    NCropAugmentation,
    build_transform_pipeline,
    dali_train_loader,
    dataset_with_index,
    normalization,
    prepare_datasets,
)

# The number of classes of each dataset; those of a custom folder are counted.
CLASSES = {"cifar10": 10, "cifar100": 100, "stl10": 10, "imagenet": 1000, "imagenet100": 100}
CLASSES |= {"digits": 10, "celeba": 1}
# These have a test set of their own, which needs no path.
_OWN_SPLIT = ("cifar10", "cifar100", "stl10", "digits")
_DOWNLOADED = {
    "cifar10": datasets.CIFAR10,
    "cifar100": datasets.CIFAR100,
    "stl10": datasets.STL10,
    "celeba": datasets.CelebA,
}
# These have no class of each image.
UNLABELLED = ("celeba",)


class PretrainDataModule(pl.LightningDataModule):
    """Training crops and validation images of one configuration.

    Args:
        cfg: the parsed configuration; ``data``, ``augmentations``, ``dali``, ``seed`` and
            ``optimizer.batch_size`` are read.
    """

    def __init__(self, cfg: DictConfig) -> None:
        super().__init__()
        self.cfg = cfg

    def prepare_data(self) -> None:
        """Download what is missing, in one process.

        Raises:
            ConfigurationError: if the download fails; an empty folder that it made is removed.
        """
        data = self.cfg.data
        if data.dataset not in _DOWNLOADED:
            return
        for key in ("train_path", "val_path"):
            root = Path(data[key] or data.train_path)
            existed = root.exists()
            try:
                _DOWNLOADED[data.dataset](str(root), download=True)
            except (OSError, RuntimeError, HTTPException) as error:
                if not existed and root.is_dir() and not any(root.iterdir()):
                    root.rmdir()
                raise ConfigurationError(
                    f"Expected `data.{key}` to hold {data.dataset}, or a network to download it "
                    f"from, but got {str(root)!r} and: {error}"
                ) from error

    @property
    def validates(self) -> bool:
        """Whether there is anything to validate on, from the configuration alone."""
        data = self.cfg.data
        return data.dataset in _OWN_SPLIT or not (data.no_labels or data.val_path is None)

    @rank_zero_only
    def check(self) -> None:
        """Download and build everything once, so that what is wrong is known before a run starts.

        The other processes wait for the first one's download in Lightning's own order.

        Raises:
            ConfigurationError: if data are missing, or there are fewer images than a batch takes.
        """
        self.prepare_data()
        batch_size = self.cfg.optimizer.batch_size
        if self.cfg.data.format != "dali" and len(self.train_set) < batch_size:  # type: ignore[arg-type]
            raise ConfigurationError(
                "Expected `optimizer.batch_size` to be at most the number of training images, "
                f"{len(self.train_set)}, but got {batch_size}."  # type: ignore[arg-type]
            )
        _ = self.val_set

    @cached_property
    def train_set(self) -> Dataset:
        """The training set, of (index, list of crops, target)."""
        data = self.cfg.data
        transform = FullTransformPipeline(
            [
                NCropAugmentation(build_transform_pipeline(data.dataset, aug), aug.num_crops)
                for aug in self.cfg.augmentations
            ]
        )
        if data.dataset == "digits":
            return dataset_with_index(Digits)(train=True, transform=transform)
        if data.dataset == "celeba":
            return dataset_with_index(datasets.CelebA)(
                data.train_path,
                split="train",
                target_type="identity",
                transform=transform,
                target_transform=_no_target,
            )
        return prepare_datasets(
            data.dataset,
            transform,
            train_data_path=data.train_path,
            data_format=data.format,
            no_labels=data.no_labels,
            data_fraction=data.fraction,
        )

    @cached_property
    def val_set(self) -> Dataset | None:
        """The validation set, of (image, target), or None without labels or ``data.val_path``."""
        data = self.cfg.data
        transform = eval_transform(self.cfg)
        if data.dataset == "digits":
            return Digits(train=False, transform=transform)
        if data.dataset in ("cifar10", "cifar100"):
            root = data.val_path or data.train_path
            return _DOWNLOADED[data.dataset](root, train=False, transform=transform)
        if data.dataset == "stl10":
            return datasets.STL10(data.val_path or data.train_path, "test", transform=transform)
        if not self.validates:
            return None
        return datasets.ImageFolder(data.val_path, transform)

    def train_dataloader(self) -> Iterable:
        """Build the training loader of this process.

        Returns:
            A loader of (indexes, crops, targets).
        """
        cfg, trainer = self.cfg, self.trainer
        rank, world_size = (
            (trainer.global_rank, trainer.world_size) if trainer is not None else (0, 1)
        )
        if cfg.data.format == "dali":
            local_rank = trainer.local_rank if trainer is not None else 0
            return dali_train_loader(cfg, rank=rank, local_rank=local_rank, world_size=world_size)
        return EpochSeededLoader(
            self.train_set,
            cfg.optimizer.batch_size,
            num_workers=num_workers(cfg),
            seed=cfg.seed,
            rank=rank,
            world_size=world_size,
        )

    def val_dataloader(self) -> Iterable:
        """Build the validation loader of this process.

        Returns:
            A loader of (images, targets), or an empty list if there is nothing to validate on.
        """
        dataset = self.val_set
        if dataset is None:
            return []
        sampler: DistributedSampler | None = None
        if self.trainer is not None and self.trainer.world_size > 1:
            sampler = DistributedSampler(
                dataset, self.trainer.world_size, self.trainer.global_rank, shuffle=False
            )
        return DataLoader(
            dataset,
            batch_size=self.cfg.optimizer.batch_size,
            sampler=sampler,
            num_workers=num_workers(self.cfg),
            pin_memory=torch.cuda.is_available(),
        )


def _no_target(_: object) -> int:
    return -1  # which solo-learn's classifiers ignore


def eval_transform(cfg: DictConfig) -> Callable:
    """Build the transform of validation images: no augmentation, training's size and normalisation.

    Args:
        cfg: the configuration; the first augmentation's ``crop_size`` counts.

    Returns:
        A function of a PIL image that gives a tensor (3, crop_size, crop_size).
    """
    dataset, augmentation = cfg.data.dataset, cfg.augmentations[0]
    size = augmentation.crop_size
    if dataset in ("imagenet", "imagenet100", "custom"):
        # 256 for 224, the usual ratio
        steps = [T.Resize(round(size * 256 / 224)), T.CenterCrop(size)]
    else:
        steps = [T.Resize((size, size))]
    return T.Compose([*steps, T.ToTensor(), T.Normalize(*normalization(dataset, augmentation))])


def num_workers(cfg: DictConfig) -> int:
    """Bound ``data.num_workers`` by the cores that this process may use.

    Args:
        cfg: the configuration.

    Returns:
        The number of loading processes.
    """
    return min(cfg.data.num_workers, len(os.sched_getaffinity(0)))
