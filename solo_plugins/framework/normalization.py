# SPDX-License-Identifier: MIT
"""The normalisation of each dataset, as on solo-learn's main branch."""

__all__ = ["normalization"]

from collections.abc import Sequence

from omegaconf import DictConfig
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

# Mean and standard deviation of each channel.
_TABLE = {
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
    return _TABLE.get(dataset, given)
