# SPDX-License-Identifier: MIT
"""Single labelled images, for classifiers on top of a pretrained network."""

__all__ = ["LabelledDataModule"]

from collections.abc import Callable
from functools import cached_property

from omegaconf import DictConfig
from timm.data import create_transform
from torch.utils.data import Dataset
from torchvision import transforms as T

from solo_plugins.data.datasets import DATASETS, with_normalization
from solo_plugins.data.module import PretrainDataModule, eval_transform


class LabelledDataModule(PretrainDataModule):
    """Training and validation images with their labels.

    Args:
        cfg: the parsed configuration; ``data``, the first of ``augmentations`` for crop size and
            normalisation, ``seed`` and ``optimizer.batch_size`` are read.
        augment: whether training images are augmented; without, they are transformed like those of
            validation.
    """

    def __init__(self, cfg: DictConfig, *, augment: bool = True) -> None:
        super().__init__(cfg)
        self.augment = augment

    def _size_notes(self) -> list[str]:
        return []  # the crop size is that of pretraining

    @cached_property
    def train_set(self) -> Dataset:
        """The training set, of (image, target)."""
        transform = train_transform(self.cfg) if self.augment else eval_transform(self.cfg)
        return self._labelled(train=True, transform=transform)


def train_transform(cfg: DictConfig) -> Callable:
    """Build the transform of training images, which is solo-learn's.

    A random crop of 8 to 100 % of the image and a flip; with ``auto_augment``, timm's random
    augmentation and erasing besides. Digits are not augmented.

    Args:
        cfg: the configuration.

    Returns:
        A function of a PIL image that gives a tensor (3, crop_size, crop_size).
    """
    augmentation = with_normalization(cfg.data.dataset, cfg.augmentations[0])
    size = augmentation.crop_size
    mean, std = augmentation.mean, augmentation.std
    if cfg.auto_augment:
        return create_transform(
            input_size=size,
            is_training=True,
            color_jitter=0.0,  # not on top of random augmentation
            auto_augment="rand-m9-mstd0.5-inc1",
            interpolation="bicubic",
            re_prob=0.25,
            re_mode="pixel",
            re_count=1,
            mean=tuple(mean),
            std=tuple(std),
        )
    smallest = DATASETS[cfg.data.dataset].smallest_crop
    if smallest == 1:
        return eval_transform(cfg)
    crop = [T.RandomResizedCrop(size, scale=(smallest, 1.0)), T.RandomHorizontalFlip()]
    return T.Compose([*crop, T.ToTensor(), T.Normalize(list(mean), list(std))])
