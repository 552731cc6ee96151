# SPDX-License-Identifier: MIT
"""Where an evaluation's result lies: one file for each kind, data set and checkpoint."""

__all__ = ["checkpoint_line", "described", "result_path"]

import hashlib
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from solo_plugins.data.datasets import with_normalization
from solo_plugins.data.fraction import training_part
from solo_plugins.runs.checkpoints import load_checkpoint
from solo_plugins.runs.pretrained import Pretrained

_DATA = ("dataset", "train_path", "val_path", "train_fingerprint", "val_fingerprint")


def checkpoint_line(pretrained: Pretrained) -> str:
    """Say which checkpoint was evaluated, and that its run is not finished if it is not.

    Args:
        pretrained: the checkpoint.
    """
    state = pretrained.folder.read_state()
    unfinished = state is not None and state.status != "finished"
    where = f", of a run that is {state.status}" if state is not None and unfinished else ""
    return f"Checkpoint: {pretrained.checkpoint}{where}"


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
        Its path, in which is named what the run's own result is not of: other data or a part of
        them, images of another size or normalisation, a checkpoint that is not the run's last.
    """
    parts = [part for part in (_part(cfg), _view(pretrained.cfg, cfg), _limit(cfg)) if part]
    if not pretrained.folder.stands_for(pretrained.checkpoint):
        parts.append(pretrained.checkpoint.stem)
    own = not parts and _is_own(pretrained.cfg, cfg.data)
    other = None if own else "-".join([_name(cfg.data), *parts])
    return pretrained.folder.evaluation_path(kind, features, other)


def described(pretrained: Pretrained, cfg: DictConfig) -> dict[str, Any]:
    """Describe what an evaluation measures, for its result.

    Args:
        pretrained: the checkpoint.
        cfg: the evaluation's configuration.

    Returns:
        ``data``: data set, folders and their fingerprints, and the part that was trained on, if it
        was one. ``transform``: crop size and normalisation. ``checkpoint``: its file, and the step
        that it was written at if it says so.
    """
    data = {key: cfg.data.get(key) for key in _DATA}
    step = load_checkpoint(pretrained.checkpoint).get("global_step")
    return {
        "data": data if _part(cfg) is None else {**data, "part": _part(cfg)},
        "transform": _transform(cfg.augmentations[0], cfg),
        "checkpoint": {"file": pretrained.checkpoint.name, "step": step},
    }


def _transform(augmentation: DictConfig, cfg: DictConfig) -> dict[str, Any]:
    """Say what a transform of the evaluation's images does, with the defaults of their data set."""
    found = with_normalization(cfg.data.dataset, augmentation)
    normalization = {key: [float(value) for value in found[key]] for key in ("mean", "std")}
    return {"crop_size": found.get("crop_size"), **normalization}


def _view(run: DictConfig | None, cfg: DictConfig) -> str | None:
    """Name a transform that is not that of the run's own images."""
    if run is None or not run.get("augmentations"):
        return None
    given = _transform(cfg.augmentations[0], cfg)
    own = _transform(run.augmentations[0], cfg)
    differing = {key for key in given if given[key] != own[key]}
    if not differing:
        return None
    if differing == {"crop_size"}:
        return f"crop-{given['crop_size']}"
    return f"transform-{hashlib.sha256(str(given).encode()).hexdigest()[:8]}"


def _limit(cfg: DictConfig) -> str | None:
    """Name a part of the validation images."""
    limit = cfg.get("limit_val_batches")
    whole = limit is None or (isinstance(limit, float) and limit == 1)
    return None if whole else f"val-{limit}"


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
