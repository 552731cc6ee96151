# SPDX-License-Identifier: MIT
"""Finding a pretrained checkpoint and the configuration of the run that wrote it.

Three writers are known: this plugin, solo-learn's main branch and the reference implementation.
"""

__all__ = ["Pretrained", "find_pretrained"]

import os
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf

from solo_plugins.errors import ConfigurationError, nearest_path
from solo_plugins.runs.folder import RunFolder

_KEY = "pretrained_feature_extractor"
_SHOWN = 20
# What backbones start from, which the checkpoint takes the place of: nothing is downloaded, and no
# other file is read.
_INITIAL_WEIGHTS = ("pretrained", "weights", "checkpoint_path", "cache_dir")


class Pretrained(NamedTuple):
    """A checkpoint and what is known about the run that wrote it.

    Args:
        checkpoint: the file.
        cfg: the run's resolved configuration, or None if none lies beside the checkpoint; without
            the weights that its backbone started from, which the checkpoint's have replaced.
        source: where `cfg` was read, or None.
    """

    checkpoint: Path
    cfg: DictConfig | None
    source: Path | None

    @property
    def folder(self) -> RunFolder:
        """The run's folder, which results are written to."""
        return RunFolder(self.checkpoint.parent)


def find_pretrained(path: Any, *, key: str = _KEY) -> Pretrained:
    """Find the checkpoint that a path means, and its configuration.

    Args:
        path: a checkpoint or a run's folder, whose last checkpoint counts, or else the newest. Of a
            link to a checkpoint the configuration lies beside the link, or else beside the file.
        key: the setting that names it, for errors.

    Returns:
        Both.

    Raises:
        ConfigurationError: if there is no checkpoint, or a finished run has lost its last one, or
            its configuration is not that of a pretraining run.
    """
    checkpoint = _checkpoint(path, key)
    folder = RunFolder(checkpoint.parent)
    if folder.config_path is None:
        checkpoint = Path(os.path.realpath(checkpoint))
        folder = RunFolder(checkpoint.parent)
    if folder.config_path is None:
        return Pretrained(checkpoint, None, None)
    return Pretrained(checkpoint, _read(folder), folder.config_path)


def _checkpoint(path: Any, key: str) -> Path:
    if path is None or str(path) == "None":  # written so in solo-learn's own YAMLs
        raise ConfigurationError(f"Expected `{key}` to be a checkpoint or a run's folder.")
    if not isinstance(path, str | os.PathLike):
        raise ConfigurationError(
            f"Expected `{key}` to be the path of a checkpoint or a run's folder but got {path!r}."
        )
    # A link stays one: the configuration lies beside it.
    found = Path(os.path.abspath(path))
    if os.path.isfile(found):
        return found
    if not os.path.isdir(found):
        raise ConfigurationError(
            f"Expected `{key}` to be a checkpoint or a run's folder that exists but got "
            f"{str(path)!r}.{nearest_path(found)}"
        )
    folder = RunFolder(found)
    checkpoint = folder.find_checkpoint()
    if checkpoint not in (None, folder.last_checkpoint) and folder.finished:
        raise ConfigurationError(
            f"Expected `{key}` to be a finished run's folder with its "
            f"{folder.last_checkpoint.name} but {str(path)!r} has lost it. Name one that is left "
            f"to use that: {_listed(found)}."
        )
    if checkpoint is None:
        raise ConfigurationError(
            f"Expected `{key}` to be a run's folder with a checkpoint but {str(path)!r} holds "
            f"{_listed(found)}.{_runs_below(found)}{_again(folder)}"
        )
    return checkpoint


def _runs_below(folder: Path) -> str:
    """Name the newest run in the folder of all runs, or in that of a method's."""
    runs = [
        RunFolder(path.parent) for path in (*folder.glob("*/*.ckpt"), *folder.glob("*/*/*.ckpt"))
    ]
    newest = min(runs, key=lambda run: run.age, default=None)
    return "" if newest is None else f" Did you mean {str(newest.path)!r}?"


def _again(folder: RunFolder) -> str:
    """Say how a run whose checkpoints were removed is trained again."""
    return " Without the folder its command trains the run again." if folder.finished else ""


def _listed(folder: Path) -> str:
    names = sorted(os.listdir(folder))
    shown = [
        name if os.path.isfile(folder / name) else f"{name} (no file)" for name in names[:_SHOWN]
    ]
    more = len(names) - _SHOWN
    return ", ".join([*shown, f"{more} more"] if more > 0 else shown) or "nothing"


def _read(folder: RunFolder) -> DictConfig:
    cfg = folder.read_config()
    missing = [
        key
        for key in ("method", "backbone.name", "data.dataset", "data.num_classes", "augmentations")
        if OmegaConf.select(cfg, key) is None
    ]
    if missing:
        raise ConfigurationError(
            f"Expected {str(folder.config_path)!r} to be the configuration of a pretraining run "
            f"but it has no `{missing[0]}`."
        )
    for name in _INITIAL_WEIGHTS:
        (cfg.backbone.get("kwargs") or {}).pop(name, None)
    return cfg
