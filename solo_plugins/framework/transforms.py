# SPDX-License-Identifier: MIT
"""Augmentations from the YAML's `augmentations` entries, and their normalisation."""

__all__ = ["build_transform_pipeline", "normalization", "normalization_table", "output_map"]

from collections.abc import Callable, Sequence

from omegaconf import DictConfig
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torchvision import transforms as T

from solo_plugins.framework.release import import_solo, release

import_solo()

# Mean and standard deviation of each channel, as on solo-learn's main branch.
normalization_table = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    "stl10": ((0.4914, 0.4823, 0.4466), (0.247, 0.243, 0.261)),
    "imagenet": (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD),
    "imagenet100": (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD),
}


def normalization(
    dataset: str, augmentation: DictConfig
) -> tuple[Sequence[float], Sequence[float]]:
    """Look up a dataset's normalisation.

    Args:
        dataset: ``data.dataset``.
        augmentation: an entry of ``augmentations``; its ``mean`` and ``std`` count for datasets
            that are not in the table, ImageNet's are the default.

    Returns:
        Mean and standard deviation of each channel, of images in [0, 1].
    """
    given = (
        tuple(augmentation.get("mean", IMAGENET_DEFAULT_MEAN)),
        tuple(augmentation.get("std", IMAGENET_DEFAULT_STD)),
    )
    return normalization_table.get(dataset, given)


def output_map(cfg: DictConfig) -> list[str]:
    """Name what a DALI pipeline gives, as solo-learn does.

    Args:
        cfg: the parsed configuration.

    Returns:
        A name for each large crop, each small crop and the label.
    """
    large = [f"large{index}" for index in range(cfg.data.num_large_crops)]
    small = [f"small{index}" for index in range(cfg.data.num_small_crops)]
    return [*large, *small, "label"]


if release() == "main":
    from solo.data.pretrain_dataloader import build_transform_pipeline
else:
    from solo.utils.pretrain_dataloader import GaussianBlur, Solarization

    def build_transform_pipeline(dataset: str, cfg: DictConfig) -> Callable:
        """Build one augmentation with main's operations, in main's order.

        The PyPI release has a class for each dataset, which always crops, cannot equalise and
        normalises CIFAR-100 by CIFAR-10's statistics.

        Args:
            dataset: ``data.dataset``.
            cfg: an entry of ``augmentations``.

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
        return T.Compose([*steps, T.ToTensor(), T.Normalize(*normalization(dataset, cfg))])
