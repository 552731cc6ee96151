# SPDX-License-Identifier: MIT
"""What a person should know of the images of a run, a line each."""

__all__ = ["class_notes", "normalization_note", "size_note"]

from collections.abc import Sequence

from omegaconf import DictConfig

from solo_plugins.data.folder import FolderScan


def class_notes(train: Sequence[str], val: Sequence[str]) -> list[str]:
    """Say which of training's classes have no validation images.

    Args:
        train: the names of the training classes.
        val: the names of the validation classes.

    Returns:
        A line, or none.

    Example:
        >>> class_notes(["ape", "bee"], ["bee"])
        ["1 of 2 classes has no validation images, 'ape'; labels are those of the training folder."]
    """
    absent = sorted(set(train) - set(val))
    if not absent:
        return []
    have = "has" if len(absent) == 1 else "have"
    such = "" if len(absent) == 1 else " for example"
    return [
        f"{len(absent)} of {len(train)} classes {have} no validation images, {absent[0]!r}{such}; "
        "labels are those of the training folder."
    ]


def normalization_note(augmentation: DictConfig) -> str:
    """Say how images are normalised.

    Args:
        augmentation: an entry of ``augmentations`` with ``mean`` and ``std``.

    Returns:
        A line.
    """
    mean, std = (
        ", ".join(f"{value:g}" for value in augmentation[name]) for name in ("mean", "std")
    )
    return (
        f"Training and validation images are normalised by mean {mean} and standard deviation "
        f"{std}."
    )


def size_note(scan: FolderScan, cfg: DictConfig) -> list[str]:
    """Say that images are enlarged, and how to have crops of their own size.

    Args:
        scan: the folder of training images.
        cfg: the configuration; ``augmentations`` and ``two_views`` are read.

    Returns:
        A line, or none.
    """
    size, side = cfg.augmentations[0].crop_size, scan.typical_side()
    if side >= size:
        return []
    key = "two_views" if cfg.get("two_views") else "augmentations.0"
    return [
        f"The images in {str(scan.root)!r} are enlarged: their shorter side is {side} pixels (the "
        f"median of a sample), crops are of {size}. `++{key}.crop_size={side}` takes crops of "
        f"{side}."
    ]
