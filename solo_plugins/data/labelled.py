# SPDX-License-Identifier: MIT
"""Single labelled images, for classifiers on top of a pretrained network."""

__all__ = ["LabelledDataModule"]

from collections.abc import Callable, Iterable
from functools import cached_property

import numpy as np
import torch
from omegaconf import DictConfig
from torch.utils.data import Dataset, Subset
from typing_extensions import override

from solo_plugins.data.dali import LabelledDaliLoader, OrderedDaliLoader
from solo_plugins.data.datasets import labels_of
from solo_plugins.data.encoded import EncodedFiles
from solo_plugins.data.fraction import training_part
from solo_plugins.data.loader import QuietLoader
from solo_plugins.data.module import PretrainDataModule, num_workers
from solo_plugins.data.pixels import Pixels
from solo_plugins.data.transforms import (
    dali_eval_transform,
    dali_train_transform,
    eval_transform,
    train_transform,
)


class LabelledDataModule(PretrainDataModule):
    """Training and validation images with their labels.

    Of the training images there can be a part: ``data.fraction``, or ``data.shots`` of each class,
    which are drawn by ``seed``.

    Args:
        cfg: the parsed configuration; ``data``, the first of ``augmentations`` for crop size and
            normalisation, ``seed`` and ``optimizer.batch_size`` are read.
        augment: whether training images are augmented; without, they are transformed like those of
            validation.
    """

    def __init__(self, cfg: DictConfig, *, augment: bool = True) -> None:
        super().__init__(cfg)
        self.augment = augment

    @property
    @override
    def _draws(self) -> bool:
        return self.augment

    def _size_notes(self) -> list[str]:
        return []  # the crop size is that of pretraining

    @cached_property
    def train_set(self) -> Dataset:
        """The training set, of (image, target)."""
        transform = train_transform(self.cfg) if self.augment else eval_transform(self.cfg)
        return self._labelled(train=True, transform=transform)

    @property
    @override
    def num_train_images(self) -> int:
        return super().num_train_images if self._kept is None else len(self._kept)

    @cached_property
    def _kept(self) -> np.ndarray | None:
        """The places of the training images that there are to be, or None for all."""
        cfg = self.cfg
        part = training_part(cfg.data)
        if part.whole:
            return None
        if self.info.open is None:
            labels = np.asarray(self.train_scan.targets(self.classes))
        else:
            labels = labels_of(super()._labelled(train=True, transform=_unused))
        return part.places(labels, **({} if part.shots is None else {"draw": cfg.seed}))

    @override
    def _labelled(self, *, train: bool, transform: Callable) -> Dataset:
        found = super()._labelled(train=train, transform=transform)
        return found if not train or self._kept is None else Subset(found, self._kept.tolist())

    @override
    def train_dataloader(self) -> Iterable:
        cfg = self.cfg
        if cfg.data.format != "dali":
            return super().train_dataloader()
        rank, world_size = self._process
        transform = dali_train_transform(cfg) if self.augment else dali_eval_transform(cfg)
        return LabelledDaliLoader(
            self.dali_images(train=True),
            transform,
            cfg.optimizer.batch_size,
            self._place,
            seed=cfg.seed,
            rank=rank,
            world_size=world_size,
        )

    @override
    def val_dataloader(self) -> Iterable:
        if self.cfg.data.format != "dali" or not self.validates:
            return super().val_dataloader()
        rank, world_size = self._process
        return self._ordered(train=False, rank=rank, world_size=world_size)

    def every_image(self, *, train: bool) -> Iterable:
        """Build a loader of all images in order, as they are for validation.

        Args:
            train: the training images, or those of validation.

        Returns:
            Batches of images (N, 3, crop_size, crop_size) and targets (N,).
        """
        if self.cfg.data.format == "dali":
            return self._ordered(train=train, rank=0, world_size=1)
        return QuietLoader(
            self._labelled(train=train, transform=eval_transform(self.cfg)),
            batch_size=self.cfg.optimizer.batch_size,
            num_workers=num_workers(self.cfg),
            pin_memory=torch.cuda.is_available(),
        )

    def _ordered(self, *, train: bool, rank: int, world_size: int) -> OrderedDaliLoader:
        return OrderedDaliLoader(
            self.dali_images(train=train),
            dali_eval_transform(self.cfg),
            self.cfg.optimizer.batch_size,
            self._place,
            rank=rank,
            world_size=world_size,
        )

    @override
    def dali_images(self, *, train: bool) -> Pixels | EncodedFiles:
        kept = self._kept if train else None
        if self.info.pixels is not None:
            pixels, labels = self.info.pixels(super()._labelled(train=train, transform=_unused))
            if kept is not None:
                pixels, labels = pixels[kept], np.asarray(labels)[kept]
            return Pixels(pixels, labels)
        scan = self.train_scan if train else self.val_scan
        paths, targets = scan.paths, scan.targets(self.classes)
        if kept is not None:
            paths, targets = ([part[place] for place in kept] for part in (paths, targets))
        return EncodedFiles(paths, targets, preload=self.cfg.data.preload)


def _unused(image: object) -> object:
    return image
