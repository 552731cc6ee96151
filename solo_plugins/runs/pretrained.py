# SPDX-License-Identifier: MIT
"""Finding a pretrained checkpoint and the configuration of the run that wrote it.

Three writers are known: this plugin (``config.yaml`` beside ``last.ckpt``), solo-learn's main
branch and the reference implementation (``args.json`` beside ``<name>-ep=<epoch>.ckpt``).
"""

__all__ = ["Pretrained", "find_pretrained"]

import difflib
import json
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf

from solo_plugins.errors import ConfigurationError

_KEY = "pretrained_feature_extractor"
_FOREIGN = "args.json"


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
    def folder(self) -> Path:
        """The run's folder, which results are written to."""
        return self.checkpoint.parent


def find_pretrained(path: Any) -> Pretrained:
    """Find the checkpoint that ``pretrained_feature_extractor`` means, and its configuration.

    Args:
        path: a checkpoint or a run's folder, of which ``last.ckpt`` counts or else the newest.

    Returns:
        Both.

    Raises:
        ConfigurationError: if there is no checkpoint, or its configuration is none of a
            pretraining run.
    """
    checkpoint = _checkpoint(path)
    for name in ("config.yaml", _FOREIGN):
        source = checkpoint.parent / name
        if source.is_file():
            return Pretrained(checkpoint, _read(source), source)
    return Pretrained(checkpoint, None, None)


def _checkpoint(path: Any) -> Path:
    if path is None or str(path) == "None":  # written so in solo-learn's own YAMLs
        raise ConfigurationError(f"Expected `{_KEY}` to be a checkpoint or a run's folder.")
    found = Path(path)
    if found.is_file():
        return found.resolve()
    if not found.is_dir():
        near = difflib.get_close_matches(str(found), map(str, found.parent.glob("*")), n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ConfigurationError(
            f"Expected `{_KEY}` to be a checkpoint or a run's folder that exists but got "
            f"{str(path)!r}.{hint}"
        )
    last = found / "last.ckpt"
    checkpoints = sorted(found.glob("*.ckpt"), key=lambda file: file.stat().st_mtime)
    if not checkpoints:
        held = ", ".join(sorted(file.name for file in found.iterdir())) or "nothing"
        raise ConfigurationError(
            f"Expected `{_KEY}` to be a run's folder with a checkpoint but {str(path)!r} holds "
            f"{held}."
        )
    return (last if last.is_file() else checkpoints[-1]).resolve()


def _read(source: Path) -> DictConfig:
    try:
        text = source.read_text()
        cfg = OmegaConf.create(json.loads(text) if source.suffix == ".json" else text)
    except ValueError as error:  # of json; YAML's own is below
        raise ConfigurationError(f"Expected {str(source)!r} to be JSON but: {error}") from error
    missing = [
        key
        for key in ("method", "backbone.name", "data.dataset", "data.num_classes", "augmentations")
        if OmegaConf.select(cfg, key) is None
    ]
    if missing:
        raise ConfigurationError(
            f"Expected {str(source)!r} to be the configuration of a pretraining run but it has no "
            f"`{missing[0]}`."
        )
    return cfg  # type: ignore[return-value]
