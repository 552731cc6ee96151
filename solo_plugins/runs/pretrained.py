# SPDX-License-Identifier: MIT
"""Finding a pretrained checkpoint and the configuration of the run that wrote it.

Three writers are known: this plugin, solo-learn's main branch and the reference implementation.
"""

__all__ = ["Pretrained", "find_pretrained"]

import difflib
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf

from solo_plugins.errors import ConfigurationError
from solo_plugins.runs.folder import RunFolder

_KEY = "pretrained_feature_extractor"


class Pretrained(NamedTuple):
    """A checkpoint and what is known about the run that wrote it.

    Args:
        checkpoint: the file.
        cfg: the run's resolved configuration, or None if none lies beside the checkpoint.
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
        path: a checkpoint or a run's folder, whose last checkpoint counts, or else the newest.
        key: the setting that names it, for errors.

    Returns:
        Both.

    Raises:
        ConfigurationError: if there is no checkpoint, or its configuration is not that of a
            pretraining run.
    """
    checkpoint = _checkpoint(path, key)
    folder = RunFolder(checkpoint.parent)
    if folder.config_path is None:
        return Pretrained(checkpoint, None, None)
    return Pretrained(checkpoint, _read(folder), folder.config_path)


def _checkpoint(path: Any, key: str) -> Path:
    if path is None or str(path) == "None":  # written so in solo-learn's own YAMLs
        raise ConfigurationError(f"Expected `{key}` to be a checkpoint or a run's folder.")
    found = Path(path)
    if found.is_file():
        return found.resolve()
    if not found.is_dir():
        near = difflib.get_close_matches(str(found), map(str, found.parent.glob("*")), n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ConfigurationError(
            f"Expected `{key}` to be a checkpoint or a run's folder that exists but got "
            f"{str(path)!r}.{hint}"
        )
    checkpoint = RunFolder(found).find_checkpoint()
    if checkpoint is None:
        held = ", ".join(sorted(file.name for file in found.iterdir())) or "nothing"
        raise ConfigurationError(
            f"Expected `{key}` to be a run's folder with a checkpoint but {str(path)!r} holds "
            f"{held}."
        )
    return checkpoint.resolve()


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
    return cfg
