# SPDX-License-Identifier: MIT
"""The datasets and augmentations of solo-learn's PyPI release, by main's interface."""

__all__ = [
    "FORMATS",
    "FullTransformPipeline",
    "NCropAugmentation",
    "build_transform_pipeline",
    "dataset_with_index",
    "prepare_datasets",
]

from collections.abc import Callable
from pathlib import Path

from omegaconf import DictConfig
from solo.utils import pretrain_dataloader
from solo.utils.pretrain_dataloader import (
    FullTransformPipeline,
    GaussianBlur,
    NCropAugmentation,
    Solarization,
    dataset_with_index,
)
from torch.utils.data import Dataset
from torchvision import transforms as T

# The values of ``data.format`` that this release reads.
FORMATS: tuple[str, ...] = ("image_folder", "dali")


def build_transform_pipeline(dataset: str, cfg: DictConfig) -> Callable:
    """Build one augmentation with main's operations, in main's order.

    The PyPI release has a class for each dataset, which always crops, cannot equalise and
    normalises CIFAR-100 by CIFAR-10's statistics.

    Args:
        dataset: not used; main looks up the normalisation by it.
        cfg: an entry of ``augmentations``, with ``mean`` and ``std``.

    Returns:
        A function of a PIL image that gives a tensor (3, crop_size, crop_size).
    """
    bicubic = T.InterpolationMode.BICUBIC
    if cfg.rrc.enabled:
        scale = (cfg.rrc.crop_min_scale, cfg.rrc.crop_max_scale)
        steps = [T.RandomResizedCrop(cfg.crop_size, scale=scale, interpolation=bicubic)]
    else:
        steps = [T.Resize(cfg.crop_size, interpolation=bicubic)]
    jitter = cfg.color_jitter
    sometimes = {
        "color_jitter": lambda p: T.RandomApply(
            [T.ColorJitter(jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue)],
            p,
        ),
        "grayscale": T.RandomGrayscale,
        "gaussian_blur": lambda p: T.RandomApply([GaussianBlur()], p),
        "solarization": lambda p: T.RandomApply([Solarization()], p),
        "equalization": lambda p: T.RandomApply([T.RandomEqualize(p=1.0)], p),
        "horizontal_flip": T.RandomHorizontalFlip,
    }
    steps += [make(cfg[name].prob) for name, make in sometimes.items() if cfg[name].prob]
    return T.Compose([*steps, T.ToTensor(), T.Normalize(list(cfg.mean), list(cfg.std))])


def prepare_datasets(
    dataset: str,
    transform: Callable,
    train_data_path: str | Path | None = None,
    data_format: str = "image_folder",
    no_labels: bool = False,
    download: bool = True,
) -> Dataset:
    """Prepare a training set of (index, crops, target).

    Args:
        dataset: ``data.dataset``.
        transform: a function of a PIL image.
        train_data_path: where the images are, or where to download them to.
        data_format: not used, this release reads image folders.
        no_labels: whether a custom folder holds images without class folders.
        download: ignored, the release downloads what is missing.

    Returns:
        The training set.
    """
    root = None if train_data_path is None else Path(train_data_path)
    return pretrain_dataloader.prepare_datasets(dataset, transform, root, ".", no_labels)
