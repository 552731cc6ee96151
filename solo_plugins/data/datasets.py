# SPDX-License-Identifier: MIT
"""The data sets that ``data.dataset`` can name, a row each with all that is known of one."""

__all__ = [
    "DATASETS",
    "DatasetInfo",
    "download",
    "has_class_folders",
    "labels_of",
    "with_normalization",
]

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch.utils.data import Dataset
from torchvision.datasets import (
    CIFAR10,
    CIFAR100,
    DTD,
    STL10,
    CelebA,
    Flowers102,
    Food101,
    OxfordIIITPet,
)

from solo_plugins.data.digits import Digits
from solo_plugins.errors import ConfigurationError

_Channels = tuple[float, float, float]
_Open = Callable[[str, bool, Callable], Dataset]
_Pixels = Callable[[Any], tuple[np.ndarray, Sequence[int]]]


@dataclass(frozen=True)
class DatasetInfo:
    """What is known of a data set.

    Args:
        num_classes: the number of classes; None if a folder's are counted.
        open: a function of a folder, of whether the training images are wanted and of a transform
            that gives the labelled images; None if they are files.
        pixels: a function of what `open` gives, and of solo-learn's training set, that gives images
            of 8 bits (N, H, W, 3) and labels (N,), without a copy; None if they are files.
        download: torchvision's class, which can download the data set, or None.
        image_folder: whether it is a folder of class folders.
        bundled: whether it is there without a folder.
        own_split: whether it has a test set of its own, which needs no ``data.val_path``.
        labelled: whether its images have classes.
        mean: of each channel of images in [0, 1]; None takes an augmentation's ``mean``, or else
            ImageNet's.
        std: as `mean`.
        smallest_crop: the smallest part of an image that linear evaluation trains on; 1 leaves
            training images as they are, without a flip.
        validation: a function of a folder and a transform that gives the labelled images that the
            data set has for choosing settings, or None if it has none.
        per_class: whether the literature's accuracy is the mean of the classes' accuracies; see
            Kornblith et al., Do Better ImageNet Models Transfer Better?, CVPR 2019.
        downstream: whether it is for pretrained networks alone, in ``solo_plugins transfer`` and
            ``embed``.
    """

    num_classes: int | None
    open: _Open | None = None
    pixels: _Pixels | None = None
    download: type[Any] | None = None
    image_folder: bool = False
    bundled: bool = False
    own_split: bool = False
    labelled: bool = True
    mean: _Channels | None = None
    std: _Channels | None = None
    smallest_crop: float = 0.08
    validation: Callable[[str, Callable], Dataset] | None = None
    per_class: bool = False
    downstream: bool = False


def _by_split(kind: type[Any], train: str = "train") -> _Open:
    return lambda root, wanted, transform: kind(
        root, split=train if wanted else "test", transform=transform
    )


def _validation(kind: type[Any]) -> Callable[[str, Callable], Dataset]:
    return lambda root, transform: kind(root, split="val", transform=transform)


_IMAGENET: dict[str, Any] = {
    "image_folder": True,
    "mean": IMAGENET_DEFAULT_MEAN,
    "std": IMAGENET_DEFAULT_STD,
}


def _downstream(kind: type[Any]) -> dict[str, Any]:
    return {"download": kind, "own_split": True, "downstream": True}


# Means and standard deviations are those of solo-learn's main branch.
DATASETS = {
    "cifar10": DatasetInfo(
        10,
        lambda root, train, transform: CIFAR10(root, train, transform),
        lambda found: (found.data, found.targets),
        CIFAR10,
        own_split=True,
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2470, 0.2435, 0.2616),
    ),
    "cifar100": DatasetInfo(
        100,
        lambda root, train, transform: CIFAR100(root, train, transform),
        lambda found: (found.data, found.targets),
        CIFAR100,
        own_split=True,
        mean=(0.5071, 0.4865, 0.4409),
        std=(0.2673, 0.2564, 0.2762),
    ),
    "stl10": DatasetInfo(
        10,
        _by_split(STL10),
        lambda found: (found.data.transpose(0, 2, 3, 1), found.labels),
        STL10,
        own_split=True,
        mean=(0.4914, 0.4823, 0.4466),
        std=(0.247, 0.243, 0.261),
    ),
    "imagenet": DatasetInfo(1000, **_IMAGENET),
    "imagenet100": DatasetInfo(100, **_IMAGENET),
    "digits": DatasetInfo(
        10,
        lambda root, train, transform: Digits(train=train, transform=transform),
        lambda found: (found.images[..., None].repeat(3, axis=3), found.targets),
        bundled=True,
        own_split=True,
        smallest_crop=1.0,
    ),
    "celeba": DatasetInfo(1, download=CelebA, labelled=False),
    "custom": DatasetInfo(None, image_folder=True),
    # The first of DTD's ten partitions, as in the literature.
    "dtd": DatasetInfo(47, _by_split(DTD), validation=_validation(DTD), **_downstream(DTD)),
    "flowers102": DatasetInfo(
        102,
        _by_split(Flowers102),
        validation=_validation(Flowers102),
        per_class=True,
        **_downstream(Flowers102),
    ),
    "food101": DatasetInfo(101, _by_split(Food101), **_downstream(Food101)),
    "pets": DatasetInfo(
        37, _by_split(OxfordIIITPet, "trainval"), per_class=True, **_downstream(OxfordIIITPet)
    ),
}


def labels_of(dataset: Any) -> np.ndarray:
    """Return the labels of what a row's ``open`` or ``validation`` gives; no image is read.

    Args:
        dataset: one of torchvision's data sets, or the digits.

    Returns:
        Labels (N,), non-negative.

    Raises:
        ConfigurationError: if there are none, or one is negative.
    """
    names = ("targets", "labels", "_labels")
    found = next((getattr(dataset, name) for name in names if hasattr(dataset, name)), None)
    labels = np.asarray([] if found is None else found, dtype=np.int64)
    without = int((labels < 0).sum()) if len(labels) else "all"
    if without:
        raise ConfigurationError(
            f"Expected each image of {type(dataset).__name__} to have a label but got {without} "
            "without one."
        )
    return labels


def download(name: str, root: str | Path) -> None:
    """Download what is missing of a data set that can be downloaded.

    Args:
        name: the data set.
        root: its folder, which is made if it is missing, and removed again if it stays empty.

    Raises:
        OSError, RuntimeError, http.client.HTTPException: if that fails; urllib and torchvision
            raise these.
    """
    kind = DATASETS[name].download
    if kind is None:
        return
    root = Path(root)
    existed = root.exists()
    try:
        kind(str(root), download=True)
    finally:
        if not existed and root.is_dir() and not any(root.iterdir()):
            root.rmdir()


def has_class_folders(data: DictConfig) -> bool:
    """Tell whether a data set is a folder of class folders.

    Args:
        data: the block ``data``.

    Returns:
        False too for a folder of images without labels.
    """
    info = DATASETS[data.dataset]
    # ImageNet lies in class folders whether or not anybody looks at the classes
    return info.image_folder and not (data.no_labels and info.num_classes is None)


def with_normalization(dataset: str, augmentation: DictConfig) -> DictConfig:
    """Fill in the normalisation of a data set.

    Args:
        dataset: ``data.dataset``.
        augmentation: an entry of ``augmentations``; its own ``mean`` and ``std`` count where the
            data set has none.

    Returns:
        A copy of the entry with ``mean`` and ``std`` of each channel, of images in [0, 1].
    """
    info, filled = DATASETS[dataset], augmentation.copy()
    OmegaConf.set_struct(filled, False)
    OmegaConf.set_readonly(filled, False)
    filled.mean = list(info.mean or augmentation.get("mean") or IMAGENET_DEFAULT_MEAN)
    filled.std = list(info.std or augmentation.get("std") or IMAGENET_DEFAULT_STD)
    return filled
