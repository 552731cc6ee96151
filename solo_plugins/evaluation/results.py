# SPDX-License-Identifier: MIT
"""Where an evaluation's result lies: one file for each kind and each data set."""

__all__ = ["described_data", "result_path"]

import hashlib
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from solo_plugins.data.fraction import training_part
from solo_plugins.runs.pretrained import Pretrained

_DATA = ("dataset", "train_path", "val_path", "train_fingerprint", "val_fingerprint")


def result_path(
    pretrained: Pretrained, cfg: DictConfig, kind: str, features: str | None = None
) -> Path:
    """Name the file of a result in the pretraining run's folder.

    Args:
        pretrained: the checkpoint.
        cfg: the evaluation's configuration.
        kind: as for :meth:`~solo_plugins.runs.folder.RunFolder.evaluation_path`.
        features: likewise.

    Returns:
        Its path, in which other data than that of pretraining are named, and a part of them.
    """
    part = _part(cfg)
    own = part is None and _is_own(pretrained.cfg, cfg.data)
    other = None if own else _name(cfg.data) if part is None else f"{_name(cfg.data)}-{part}"
    return pretrained.folder.evaluation_path(kind, features, other)


def described_data(cfg: DictConfig) -> dict[str, Any]:
    """Describe the data of an evaluation, for its result.

    Args:
        cfg: the evaluation's configuration.

    Returns:
        Data set, folders and their fingerprints, and the part that was trained on, if it was one.
    """
    described = {key: cfg.data.get(key) for key in _DATA}
    return described if _part(cfg) is None else {**described, "part": _part(cfg)}


def _part(cfg: DictConfig) -> str | None:
    part = training_part(cfg.data)
    if part.whole:
        return None
    return f"fraction-{part.fraction:g}" if part.shots is None else f"{part}-shots-seed{cfg.seed}"


def _is_own(run: DictConfig | None, data: DictConfig) -> bool:
    """Tell whether data are those of the pretraining run."""
    if run is None or run.data.dataset != data.dataset:
        return False
    for path, fingerprint in (
        ("train_path", "train_fingerprint"),
        ("val_path", "val_fingerprint"),
    ):
        # Earlier commits knew the paths alone; a data set of a fixed content needs neither.
        key = fingerprint if fingerprint in run.data else path
        if data.get(fingerprint) is not None and run.data.get(key) != data.get(key):
            return False
    return True


def _name(data: DictConfig) -> str:
    found = [data.get(key) for key in ("train_fingerprint", "val_fingerprint")]
    if found == [None, None]:
        return str(data.dataset)
    digest = hashlib.sha256("/".join(map(str, found)).encode()).hexdigest()
    return f"{data.dataset}-{digest[:8]}"
