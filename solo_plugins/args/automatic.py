# SPDX-License-Identifier: MIT
"""``auto``: what a configuration for a folder of images leaves to the images in it."""

__all__ = ["AUTO", "automatic"]

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from solo_plugins.args.data import check_folder
from solo_plugins.data.datasets import DATASETS
from solo_plugins.data.folder import FolderScan, scan_folder
from solo_plugins.data.measure import channel_statistics

AUTO = "auto"
# Crops of ImageNet's size at most, of CIFAR's at least; between them of a size that strides divide.
_LARGEST_CROP, _SMALLEST_CROP, _STEP = 224, 32, 16
_LARGEST_BATCH, _SMALLEST_BATCH, _STEPS = 256, 16, 8
_K = 20


def automatic(cfg: DictConfig) -> tuple[DictConfig, list[str]]:
    """Replace each ``auto`` by what fits the folder of training images.

    ``data.no_labels`` says whether there are no class folders; a ``crop_size`` is that of the
    images, in steps of 16 from 32 to 224; ``mean`` and ``std`` are measured on 512 images;
    ``optimizer.batch_size`` is a power of two that makes at least 8 steps of an epoch, from 16 to
    256, and ``knn_eval.k`` at most 20 and the images of the smallest class.

    Args:
        cfg: the configuration as composed by hydra.

    Returns:
        The configuration, a copy if anything was replaced, and a line on what was chosen. An
        ``auto`` elsewhere, or for other data sets, stays, to be refused.

    Raises:
        ConfigurationError: if ``data.train_path`` is no folder of images.
    """
    raw: Any = OmegaConf.to_container(cfg, resolve=False)
    places = [place for place in _places(raw) if _value(raw, place) == AUTO]
    data = raw.get("data")
    info = DATASETS.get(str(data.get("dataset"))) if isinstance(data, dict) else None
    if not places or info is None or not info.image_folder:
        return cfg, []
    path = OmegaConf.select(cfg, "data.train_path")
    check_folder("train_path", path)
    labelled = any(entry.is_dir() and entry.name[0] != "." for entry in Path(path).iterdir())
    scan = scan_folder(path, labelled=labelled)
    cfg = cfg.copy()
    OmegaConf.set_struct(cfg, False)
    chosen = _chosen(scan)
    for place in places:
        OmegaConf.update(cfg, place, chosen[place.rpartition(".")[2]])
    return cfg, [_note(scan, {place.rpartition(".")[2] for place in places}, chosen)]


def _places(raw: Any) -> list[str]:
    """List where ``auto`` may stand."""
    number = len(raw["augmentations"]) if isinstance(raw.get("augmentations"), list) else 0
    entries = [f"augmentations.{index}" for index in range(number)]
    return [
        "data.no_labels",
        *(f"two_views.{name}" for name in ("crop_size", "mean", "std")),
        *(f"{entry}.{name}" for entry in entries for name in ("crop_size", "mean", "std")),
        "optimizer.batch_size",
        "knn_eval.k",
    ]


def _value(raw: Any, place: str) -> Any:
    for part in place.split("."):
        if isinstance(raw, Mapping):
            raw = raw.get(part)
        elif isinstance(raw, list) and part.isdecimal():
            raw = raw[int(part)]
        else:
            return None
    return raw


def _chosen(scan: FolderScan) -> dict[str, Any]:
    number, side = len(scan.names), scan.typical_side()
    mean, std = channel_statistics(scan)
    batch = _SMALLEST_BATCH
    while 2 * batch * _STEPS <= number and batch < _LARGEST_BATCH:
        batch *= 2
    crop = side // _STEP * _STEP
    return {
        "no_labels": not scan.classes,
        "crop_size": max(_SMALLEST_CROP, min(_LARGEST_CROP, crop)),
        "mean": mean,
        "std": std,
        "batch_size": min(batch, number),
        "k": min(_K, *scan.counts),
    }


def _note(scan: FolderScan, names: set[str], chosen: Mapping[str, Any]) -> str:
    parts = {
        "no_labels": "no labels" if chosen["no_labels"] else _number_of(scan.classes),
        "crop_size": f"crops of {chosen['crop_size']} pixels",
        "batch_size": f"batches of {chosen['batch_size']}",
        "mean": "mean and standard deviation as measured",
        "k": f"{chosen['k']} neighbours",
    }
    told = [text for name, text in parts.items() if name in names]
    return f"From {len(scan.names):,} images in {str(scan.root)!r}: {', '.join(told)}."


def _number_of(classes: Sequence[str]) -> str:
    return (
        "1 class, which a probe tells nothing of"
        if len(classes) == 1
        else f"{len(classes)} classes"
    )
