# SPDX-License-Identifier: MIT
"""The block ``data``: folders that must exist, and the number of classes."""

__all__ = ["IMAGE_FOLDERS", "check_paths", "count_classes"]

import difflib
from pathlib import Path

from omegaconf import DictConfig

from solo_plugins.data.datasets import DATASETS
from solo_plugins.errors import ConfigurationError

IMAGE_FOLDERS = [name for name, info in DATASETS.items() if info.image_folder]


def check_paths(data: DictConfig, *, validates: bool) -> None:
    """Refuse folders that are not set or do not exist.

    Args:
        data: the block ``data``.
        validates: whether images to validate on are required; otherwise they are optional.

    Raises:
        ConfigurationError: naming the nearest folder that exists.
    """
    info = DATASETS[data.dataset]
    if info.image_folder:
        _check_folder("train_path", data.train_path)
        if validates or data.val_path is not None:
            _check_folder("val_path", data.val_path)
    elif not info.bundled and data.train_path is None:
        raise ConfigurationError("Expected `data.train_path` to be set.")


def count_classes(data: DictConfig) -> int:
    """Look up or count the classes of a data set.

    Args:
        data: the block ``data``.

    Returns:
        Their number, 1 without labels.

    Raises:
        ConfigurationError: if a folder of labelled images has no folders of classes.
    """
    known = DATASETS[data.dataset].num_classes
    if known is not None:
        return known
    if data.no_labels:
        return 1
    folders = sum(entry.is_dir() for entry in Path(data.train_path).iterdir())
    if not folders:
        raise ConfigurationError(
            "Expected `data.train_path` to hold a folder for each class, or `data.no_labels` "
            f"to be true, but got {data.train_path!r} without any."
        )
    return folders


def _check_folder(key: str, path: str | None) -> None:
    if path is None or not Path(path).exists():
        siblings = [str(p) for p in Path(path).parent.glob("*")] if path else []
        near = difflib.get_close_matches(str(path), siblings, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ConfigurationError(
            f"Expected `data.{key}` to be a folder of images that exists but got {path!r}.{hint}"
        )
