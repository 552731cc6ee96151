# SPDX-License-Identifier: MIT
"""The transforms of single labelled images, to train classifiers on and to validate on."""

__all__ = ["INTERPOLATION", "eval_transform", "resized_side", "train_transform"]

from collections.abc import Callable

from omegaconf import DictConfig
from timm.data import create_transform
from torchvision import transforms as T

from solo_plugins.data.datasets import DATASETS, with_normalization

# That of solo-learn's training crops, on both releases and by DALI.
INTERPOLATION = T.InterpolationMode.BICUBIC


def eval_transform(cfg: DictConfig) -> Callable:
    """Build the transform of validation images: as those of training, without augmentation.

    Size, normalisation and interpolation are training's.

    Args:
        cfg: the configuration; the first augmentation's ``crop_size`` counts.

    Returns:
        A function of a PIL image that gives a tensor (3, crop_size, crop_size).
    """
    dataset = cfg.data.dataset
    augmentation = with_normalization(dataset, cfg.augmentations[0])
    size = augmentation.crop_size
    if DATASETS[dataset].image_folder:
        steps = [T.Resize(resized_side(size), INTERPOLATION), T.CenterCrop(size)]
    else:
        steps = [T.Resize((size, size), INTERPOLATION)]
    normalize = T.Normalize(list(augmentation.mean), list(augmentation.std))
    return T.Compose([*steps, T.ToTensor(), normalize])


def resized_side(size: int) -> int:
    """Say how large validation images from folders are before their centre is cut out.

    Args:
        size: the crop's height and width, in pixels.

    Returns:
        The length of the shorter side: 256 for 224, the usual ratio.
    """
    return round(size * 256 / 224)


def train_transform(cfg: DictConfig) -> Callable:
    """Build the transform of training images, which is solo-learn's but for the interpolation.

    A random crop of 8 to 100 % of the image, resized as pretraining and validation resize, and a
    flip; with ``auto_augment``, timm's random augmentation and erasing besides. Digits are not
    augmented.

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
    crop = T.RandomResizedCrop(size, scale=(smallest, 1.0), interpolation=INTERPOLATION)
    flip = T.RandomHorizontalFlip()
    return T.Compose([crop, flip, T.ToTensor(), T.Normalize(list(mean), list(std))])
