# SPDX-License-Identifier: MIT
"""The images that are to be encoded: a data set of the package, or a folder."""

__all__ = ["Source", "find_source"]

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch.utils.data import Dataset

from solo_plugins.data.datasets import DATASETS
from solo_plugins.data.files import ImageFiles
from solo_plugins.data.folder import is_folder, scan_folder
from solo_plugins.errors import ConfigurationError, nearest
from solo_plugins.inference.encoder import Encoder

_SPLITS = {"train": "train_path", "val": "val_path"}


class Source(NamedTuple):
    """Images with what is known of them.

    Args:
        dataset: of pairs of image tensor and label, -1 without one.
        names: the images' paths below `root`, or None if they have none.
        classes: the names that labels count; empty if there are none.
        facts: what is to be written down: the data set, its folder, split and fingerprint.
        notes: what a person should know, a line each.
    """

    dataset: Dataset
    names: Sequence[str] | None
    classes: Sequence[str]
    facts: dict[str, Any]
    notes: Sequence[str] = ()


def find_source(
    encoder: Encoder,
    data: str | None = None,
    *,
    split: str = "val",
    root: str | None = None,
    strict: bool = False,
) -> Source:
    """Find images.

    Args:
        encoder: the network, whose evaluation transform they go through.
        data: the name of a data set, or a folder of images or of class folders; None means the
            run's own data.
        split: ``train`` or ``val``, of data sets that have both.
        root: where the data set lies; None looks where the run's lay.
        strict: whether a file that cannot be read is an error.

    Returns:
        The images.

    Raises:
        ConfigurationError: if there is no such data set, folder or image.
    """
    own = encoder.config.data
    name = own.dataset if data is None else data
    if name not in DATASETS:
        return _folder(encoder, name, {"dataset": "folder"}, strict=strict)
    info = DATASETS[name]
    if root is None and name == own.dataset:
        root = own.get(_SPLITS[split])
        if root is None and own.get("train_path") is not None:
            root = own.train_path
            split = "train" if info.image_folder else split  # others hold both in one place
    if root is None and not info.bundled:
        raise ConfigurationError(
            f"Expected `--root` to be the folder of {name}, which was not pretrained on, but got "
            "None."
        )
    facts = {"dataset": name, "split": split}
    if info.open is None:
        return _folder(encoder, str(root), facts, strict=strict)
    try:
        found: Any = info.open(str(root), split == "train", encoder.transform)
    except (OSError, RuntimeError) as error:  # torchvision's own, if files are missing
        raise ConfigurationError(
            f"Expected {str(root)!r} to hold {name} but: {' '.join(str(error).split())}"
        ) from error
    classes = list(getattr(found, "classes", ()))  # not all of torchvision's have names
    return Source(found, None, classes, {**facts, "root": root})


def _folder(encoder: Encoder, path: str, facts: dict[str, Any], *, strict: bool) -> Source:
    if not os.path.isdir(path):
        known = "" if "/" in path else nearest(path, DATASETS)
        raise ConfigurationError(
            f"Expected a folder of images or one of {', '.join(DATASETS)} but got {path!r}.{known}"
        )
    with os.scandir(path) as entries:
        labelled = any(is_folder(entry) and not entry.name.startswith(".") for entry in entries)
    scan = scan_folder(path, labelled=labelled, key="data", damaged=not strict)
    files = ImageFiles(scan.paths, scan.targets(), encoder.transform, preload=False)
    facts = {**facts, "root": str(Path(path).resolve()), "fingerprint": scan.fingerprint}
    return Source(files, scan.names, scan.classes, facts, scan.notes)
