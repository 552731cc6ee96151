# SPDX-License-Identifier: MIT
"""One run's folder. This module alone knows what its files are called and how they are written."""

__all__ = ["RunFileError", "RunFolder"]

import json
import os
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from solo_plugins.errors import ConfigurationError

_CONFIG, _SUMMARY, _LOG, _KNN = "config.yaml", "summary.json", "metrics.csv", "knn.json"
_LAST, _CHECKPOINTS, _OLD_LOG = "last.ckpt", "*.ckpt", "metrics.{}.csv"
# solo-learn's main branch and the reference implementation write their configuration to this file.
_FOREIGN_CONFIG = "args.json"
# Earlier commits wrote these settings. With these values a run is the same without them.
_RETIRED = {"mean_shift_rate": 0.0, "coordinate_weight": 0.0, "target_draws": 1}


class RunFileError(ConfigurationError):
    """A run's file that cannot be used.

    Args:
        path: the file.
        reason: why it cannot be used, as a clause.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{str(path)!r} cannot be used: {reason}")
        self.path, self.reason = path, reason


@dataclass(frozen=True)
class RunFolder:
    """The folder of a run: its configuration, checkpoints, logs and results.

    Args:
        path: the folder, which need not exist.

    Example:
        >>> RunFolder(Path("trained_models/byol/a")).last_checkpoint.as_posix()
        'trained_models/byol/a/last.ckpt'
    """

    path: Path

    # Lightning's ModelCheckpoint adds the suffix.
    LAST_CHECKPOINT_STEM: ClassVar[str] = _LAST.removesuffix(".ckpt")
    # For messages: what a user finds in a folder.
    CONFIG: ClassVar[str] = _CONFIG
    SUMMARY: ClassVar[str] = _SUMMARY
    CONTENTS: ClassVar[str] = f"{_CONFIG}, {_LAST} and {_SUMMARY}"
    CONFIGS: ClassVar[str] = f"{_CONFIG} or {_FOREIGN_CONFIG}"

    def __str__(self) -> str:
        return str(self.path)

    @classmethod
    def below(cls, parent: Path) -> "list[RunFolder]":
        """List the runs in a folder of runs that have a last checkpoint, newest first.

        Args:
            parent: the folder, which need not exist.

        Returns:
            Run folders.
        """
        return [cls(path.parent) for path in sorted(parent.glob(f"*/{_LAST}"), key=_age)]

    @staticmethod
    def holds_a_run(files: Iterable[str]) -> bool:
        """Tell whether a folder with these files is a run's.

        Args:
            files: names of files.

        Returns:
            True if one of them is a file that runs leave.
        """
        return bool({_CONFIG, _LAST, _LOG, _SUMMARY} & set(files))

    # -- checkpoints

    @property
    def last_checkpoint(self) -> Path:
        """The checkpoint that is written after every epoch; it need not exist."""
        return self.path / _LAST

    @property
    def checkpoint_age(self) -> float:
        """Seconds since the last checkpoint was written."""
        return _age(self.last_checkpoint)

    def find_checkpoint(self) -> Path | None:
        """Find the checkpoint that counts: the last one, or else the newest file.

        Returns:
            Its path, or None if there is none.
        """
        if self.last_checkpoint.is_file():
            return self.last_checkpoint
        return min(self.path.glob(_CHECKPOINTS), key=_age, default=None)

    # -- configuration and summary

    @property
    def config_path(self) -> Path | None:
        """The run's configuration, also that of solo-learn or the reference; None without one."""
        paths = (self.path / name for name in (_CONFIG, _FOREIGN_CONFIG))
        return next((path for path in paths if path.is_file()), None)

    def read_config(self) -> DictConfig:
        """Read the run's resolved configuration.

        Returns:
            The configuration, without settings that nothing reads any more.

        Raises:
            RunFileError: if there is none or it cannot be read.
        """
        path = self.config_path
        if path is None:
            raise RunFileError(self.path / _CONFIG, "there is no such file")
        cfg = _parse(path, json.loads if path.suffix == ".json" else str)
        kwargs = cfg.get("method_kwargs")
        for name, off in _RETIRED.items():
            if isinstance(kwargs, DictConfig) and kwargs.get(name) == off:
                del kwargs[name]
        return cfg

    def write_config(self, cfg: DictConfig) -> None:
        """Write the run's resolved configuration.

        Args:
            cfg: the configuration.
        """
        _write(self.path / _CONFIG, OmegaConf.to_yaml(cfg))

    @property
    def finished(self) -> bool:
        """Whether the run has left a summary, which it does when its last epoch is done."""
        return (self.path / _SUMMARY).is_file()

    def read_summary(self) -> dict[str, Any]:
        """Read the run's summary.

        Returns:
            The last value of every metric, and facts about the run.

        Raises:
            RunFileError: if there is none or it cannot be read.
        """
        return _read_json(self.path / _SUMMARY)

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write the run's summary.

        Args:
            summary: what ``json`` can write.
        """
        _write_json(self.path / _SUMMARY, dict(sorted(summary.items())))

    # -- logs

    def logs(self) -> list[Path]:
        """List the logs of all parts of the run, oldest first."""
        pattern = re.escape(_OLD_LOG).replace(r"\{\}", r"(\d+)")
        old = [(re.fullmatch(pattern, path.name), path) for path in self.path.glob("*.csv")]
        numbered = sorted((int(found[1]), path) for found, path in old if found)
        current = [self.path / _LOG] if (self.path / _LOG).is_file() else []
        return [*(path for _, path in numbered), *current]

    def keep_log(self) -> None:
        """Move an interrupted run's log out of the way of Lightning, which would empty it."""
        if (self.path / _LOG).is_file():
            (self.path / _LOG).rename(self.path / _OLD_LOG.format(len(self.logs())))

    # -- results of evaluations

    def evaluation_path(self, kind: str, features: str | None = None) -> Path:
        """Name the file of an evaluation's result.

        Args:
            kind: ``knn``, ``linear`` or ``finetuned``.
            features: ``backbone`` or ``projector``; None for ``knn``, which has both.

        Returns:
            Its path, whether it exists or not.
        """
        return self.path / (_KNN if features is None else f"{kind}-{features}.json")

    def read_evaluation(self, kind: str, features: str | None = None) -> dict[str, Any] | None:
        """Read an evaluation's result.

        Args:
            kind: as for :meth:`evaluation_path`.
            features: as for :meth:`evaluation_path`.

        Returns:
            The result, or None if there is none.

        Raises:
            RunFileError: if it cannot be read.
        """
        path = self.evaluation_path(kind, features)
        return _read_json(path) if path.is_file() else None

    def write_evaluation(
        self, result: Mapping[str, Any], kind: str, features: str | None = None
    ) -> Path:
        """Write an evaluation's result.

        Args:
            result: what ``json`` can write.
            kind: as for :meth:`evaluation_path`.
            features: as for :meth:`evaluation_path`.

        Returns:
            Its path.
        """
        path = self.evaluation_path(kind, features)
        _write_json(path, result)
        return path


def _age(path: Path) -> float:
    return max(0.0, time.time() - path.stat().st_mtime)


def _parse(path: Path, parse: Callable[[str], Any]) -> DictConfig:
    try:
        cfg = OmegaConf.create(parse(path.read_text()))
        OmegaConf.resolve(cfg)
    except (OmegaConfBaseException, YAMLError, OSError, ValueError) as error:
        raise RunFileError(path, _text(error)) from error
    if not isinstance(cfg, DictConfig):
        raise RunFileError(path, "it holds no settings")
    return cfg


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise RunFileError(path, _text(error)) from error
    if not isinstance(content, dict):
        raise RunFileError(path, "it holds no settings")
    return content


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    _write(path, json.dumps(content, indent=2) + "\n")


def _write(path: Path, text: str) -> None:
    """Write a file whole or not at all, also if the machine stops in between."""
    part = path.with_name(f"{path.name}.part")
    with part.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def _text(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
