# SPDX-License-Identifier: MIT
"""The transforms of single labelled images, by PIL and by DALI, and the crops that DALI gives."""

__all__ = [
    "INTERPOLATION",
    "dali_crops",
    "dali_eval_transform",
    "dali_train_transform",
    "eval_transform",
    "resized_side",
    "train_transform",
]

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from omegaconf import DictConfig, OmegaConf
from timm.data import create_transform
from torchvision import transforms as T

from solo_plugins.data.datasets import DATASETS, with_normalization
from solo_plugins.framework import (
    FullTransformPipeline,
    NCropAugmentation,
    build_transform_pipeline_dali,
)

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


def dali_crops(cfg: DictConfig, augmentations: Sequence[DictConfig]) -> Callable:
    """Prepare pretraining's crops by solo-learn's DALI transforms.

    Args:
        cfg: the configuration; ``data.dataset`` and ``dali.device`` are read.
        augmentations: the entries, with ``mean`` and ``std``.

    Returns:
        A function that gives a function of DALI's images, which gives a list of crops.
    """
    return partial(_crops, cfg.data.dataset, augmentations, cfg.dali.device)


def dali_train_transform(cfg: DictConfig) -> Callable:
    """Prepare :func:`train_transform` by solo-learn's DALI transforms, without ``auto_augment``.

    Args:
        cfg: the configuration.

    Returns:
        As :func:`dali_crops`, of one crop.
    """
    smallest = DATASETS[cfg.data.dataset].smallest_crop
    if smallest == 1:
        return dali_eval_transform(cfg)
    augmentation = with_normalization(cfg.data.dataset, cfg.augmentations[0])
    names = ("color_jitter", "grayscale", "gaussian_blur", "solarization", "equalization")
    settings: dict[str, Any] = {name: {"prob": 0.0} for name in names}
    settings["horizontal_flip"] = {"prob": 0.5}
    settings["rrc"] = {"enabled": True, "crop_min_scale": smallest, "crop_max_scale": 1.0}
    kept = {name: augmentation[name] for name in ("crop_size", "mean", "std")}
    entry = OmegaConf.create({**settings, **kept, "num_crops": 1})
    return dali_crops(cfg, [entry])


def dali_eval_transform(cfg: DictConfig) -> Callable:
    """Prepare :func:`eval_transform` by DALI; solo-learn's is for crops of 224 alone.

    Args:
        cfg: the configuration.

    Returns:
        As :func:`dali_crops`, of one crop.
    """
    return partial(_evaluation, cfg)


def _crops(dataset: str, augmentations: Sequence[DictConfig], device: str) -> Callable:
    return FullTransformPipeline(
        [
            NCropAugmentation(build_transform_pipeline_dali(dataset, aug, device), aug.num_crops)
            for aug in augmentations
        ]
    )


def _evaluation(cfg: DictConfig) -> Callable:
    from nvidia.dali import fn, types

    dataset = cfg.data.dataset
    augmentation = with_normalization(dataset, cfg.augmentations[0])
    size = augmentation.crop_size
    resized = _resizing(dataset, size)

    def transform(images: Any) -> list[Any]:
        images = fn.resize(images, interp_type=types.DALIInterpType.INTERP_CUBIC, **resized)
        crop = fn.crop_mirror_normalize(
            images,
            dtype=types.DALIDataType.FLOAT,
            output_layout="CHW",
            crop=(size, size),
            mean=[255 * value for value in augmentation.mean],
            std=[255 * value for value in augmentation.std],
        )
        return [crop]

    return transform


def _resizing(dataset: str, size: int) -> dict[str, Any]:
    """Return DALI's settings that resize as :func:`eval_transform` does."""
    if DATASETS[dataset].image_folder:
        return {"resize_shorter": resized_side(size)}
    return {"size": (size, size)}
