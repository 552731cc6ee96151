# SPDX-License-Identifier: MIT
"""The block ``data``: folders that must exist, and what follows from what they hold."""

__all__ = ["IMAGE_FOLDERS", "check_folder", "check_paths", "settle_data"]

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from solo_plugins.data.datasets import DATASETS, has_class_folders
from solo_plugins.data.folder import scan_folder
from solo_plugins.errors import ConfigurationError, nearest_path

IMAGE_FOLDERS = [name for name, info in DATASETS.items() if info.image_folder]
_WORKED_OUT = ("num_classes", "train_fingerprint", "val_fingerprint")


def check_paths(data: DictConfig, *, validates: bool) -> None:
    """Refuse folders that are not set or are none.

    Args:
        data: the block ``data``.
        validates: whether images to validate on are required; otherwise they are optional.

    Raises:
        ConfigurationError: naming the nearest folder that exists.
    """
    info = DATASETS[data.dataset]
    if info.image_folder:
        # with h5 that is one file
        exists = os.path.isfile if data.format == "h5" else os.path.isdir
        check_folder("train_path", data.train_path, exists)
        if validates or data.val_path is not None:
            check_folder("val_path", data.val_path)
    elif not info.bundled and data.train_path is None:
        raise ConfigurationError("Expected `data.train_path` to be set.")


def settle_data(data: DictConfig) -> None:
    """Look into the folders, and fill in what follows.

    Args:
        data: the block ``data`` with paths that exist, which become absolute. ``num_classes``,
            which is 1 without labels, ``train_fingerprint`` and ``val_fingerprint`` are filled in;
            a fingerprint is None where the data set's name says what is trained on.

    Raises:
        ConfigurationError: naming the path, if a folder holds what cannot be read, or validation
            has a class that training lacks; or naming one of these settings, if another value of
            it was given.
    """
    info = DATASETS[data.dataset]
    _make_absolute(data)
    train = val = None
    given = {key: data.get(key) for key in _WORKED_OUT}
    data.train_fingerprint = data.val_fingerprint = None
    if info.image_folder and data.format == "h5":
        file = Path(data.train_path)
        data.train_fingerprint = f"{file.name} {file.stat().st_size}"
    elif info.image_folder:
        train = scan_folder(data.train_path, labelled=has_class_folders(data))
        data.train_fingerprint = train.fingerprint
    if info.image_folder and data.val_path is not None and not data.no_labels:
        val = scan_folder(data.val_path, labelled=True, key="data.val_path")
        data.val_fingerprint = val.fingerprint
    if train is not None and val is not None:
        val.targets(train.classes)
    data.num_classes = info.num_classes
    if data.num_classes is None:
        data.num_classes = max(1, len(train.classes)) if train is not None else 1
    elif train is not None and len(train.classes) > data.num_classes:
        raise ConfigurationError(
            f"Expected `data.train_path` to hold the {data.num_classes} classes of {data.dataset} "
            f"but got {len(train.classes)} in {data.train_path!r}; `data.dataset: custom` counts "
            "them."
        )
    for key, value in given.items():
        if value is not None and value != data[key]:
            raise ConfigurationError(
                f"Expected `data.{key}` to be what the images come to, {data[key]!r}, but got "
                f"{value!r}; leave it out."
            )


def _make_absolute(data: DictConfig) -> None:
    """Name folders from the root: an evaluation may be started elsewhere."""
    for key in ("train_path", "val_path"):
        if data.get(key) is not None:
            data[key] = os.path.abspath(data[key])


def check_folder(key: str, path: Any, exists: Callable[[str], bool] = os.path.isdir) -> None:
    """Refuse a path that is none, with the nearest one that is.

    Args:
        key: the setting in the block ``data``.
        path: its value, of any kind.
        exists: whether a path is what is asked for.

    Raises:
        ConfigurationError: naming the nearest path that exists.
    """
    if not isinstance(path, str) or not exists(path):
        hint = nearest_path(path) if isinstance(path, str) and path else ""
        hint = f" Set it by `++data.{key}=DIR`." if path is None else hint
        hint = " That is a file." if isinstance(path, str) and os.path.isfile(path) else hint
        raise ConfigurationError(
            f"Expected `data.{key}` to be a folder of images that exists but got {path!r}.{hint}"
        )
