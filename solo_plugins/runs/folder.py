# SPDX-License-Identifier: MIT
"""One run's folder. This module alone knows what its files are called and how they are written."""

__all__ = ["RunFileError", "RunFolder", "RunState", "folder_name"]

import os
import re
import socket
import time
import unicodedata
import uuid
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from omegaconf import DictConfig, OmegaConf

from solo_plugins.runs.files import (
    RunFileError,
    clean,
    parse_json,
    parse_yaml,
    write_json,
    write_text,
)
from solo_plugins.runs.saved import check_saved, inlined

# What was asked for, which can be run again, and what came of it on this machine.
_ASKED, _RESOLVED = "config.yaml", "resolved.yaml"
_STATE, _LOCK, _SUMMARY, _LOG = "state.json", "run.lock", "summary.json", "metrics.csv"
_LAST, _PREVIOUS, _BEST, _CHECKPOINTS = "last.ckpt", "previous.ckpt", "best.ckpt", "*.ckpt"
_OLD_LOG = "metrics.{}.csv"
_TRANSFER = "transfer"
# solo-learn's main branch and the reference implementation write their configuration to this file.
_FOREIGN_CONFIG = "args.json"
# Earlier commits wrote these settings. With these values a run is the same without them.
_RETIRED = {"mean_shift_rate": 0.0, "coordinate_weight": 0.0, "target_draws": 1}
# By this hydra composes a saved configuration in the way of this repository's own.
_HYDRA = """\
# As it was asked for: --config-path <this folder> --config-name config runs it again.
defaults:
  - shared@_global_:
      - program
  - _self_
  - override hydra/hydra_logging: disabled
  - override hydra/job_logging: disabled

"""


def folder_name(name: str) -> str:
    """Turn a run's name, which may be any text, into one that folders and wandb take.

    Args:
        name: any text.

    Returns:
        Letters, digits and ``._+=-`` of ASCII, at most 80; ``run`` if nothing is left.

    Example:
        >>> folder_name("exp/a: lr={0.1} #2"), folder_name("p=0.5")
        ('exp-a-lr=-0.1-2', 'p=0.5')
    """
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^\w.+=-]+", "-", plain)[:80].strip("-.") or "run"


@dataclass(frozen=True)
class RunState:
    """What has become of a run.

    Args:
        status: ``running``; ``interrupted`` by a signal or an error; ``stopped`` before its last
            epoch by a limit or a callback; ``finished``.
        reason: why it was interrupted or stopped.
        epochs: the number of epochs that are done.
        steps: the number of steps that are done.
        run_id: tells runs apart whose folders have one name.
        host: the machine that it runs or ran on.
        process: the process's number there.
        job: the number of the SLURM job and of its restarts, or an empty string.
    """

    status: str = "running"
    reason: str = ""
    epochs: int = 0
    steps: int = 0
    run_id: str = field(default_factory=lambda: uuid.uuid4().hex[:8])
    host: str = field(default_factory=socket.gethostname)
    process: int = field(default_factory=os.getpid)
    job: str = field(default_factory=lambda: _job())

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "RunState":
        """Take the state that a run has written.

        Args:
            content: the fields by name.

        Returns:
            The state.

        Raises:
            TypeError: if a field is not known, or of another type.
        """
        state = cls(**content)
        plain = cls()
        for name, value in vars(state).items():
            if type(value) is not type(getattr(plain, name)):
                raise TypeError(f"`{name}` is {value!r}")
        return state

    def now(self) -> "RunState":
        """Return the same run as one that this process has taken up."""
        return replace(RunState(), run_id=self.run_id, epochs=self.epochs, steps=self.steps)

    @property
    def may_live_elsewhere(self) -> bool:
        """Whether a process of another machine said that it is running, and may still be."""
        requeued = self.job and self.job != _job() and _number(self.job) == _number(_job())
        return self.status == "running" and self.host != socket.gethostname() and not requeued


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
    BEST_CHECKPOINT_STEM: ClassVar[str] = _BEST.removesuffix(".ckpt")
    # For messages: what a user finds in a folder.
    CONFIG: ClassVar[str] = _ASKED
    SUMMARY: ClassVar[str] = _SUMMARY
    CONTENTS: ClassVar[str] = f"{_ASKED}, {_LAST} and {_SUMMARY}"
    CONFIGS: ClassVar[str] = f"{_ASKED} or {_FOREIGN_CONFIG}"

    def __str__(self) -> str:
        return str(self.path)

    @classmethod
    def below(cls, parent: Path) -> "list[RunFolder]":
        """List the runs at any depth of a folder, newest first; runs within runs are passed over.

        Args:
            parent: the folder, which need not exist.

        Returns:
            Run folders.
        """
        found = []
        for folder, folders, files in os.walk(parent):
            if cls.holds_a_run(files):
                found.append(cls(Path(folder)))
                folders.clear()
        return sorted(found, key=lambda run: run.age)

    @staticmethod
    def holds_a_run(files: Iterable[str]) -> bool:
        """Tell whether a folder with these files is a run's.

        Args:
            files: names of files.

        Returns:
            True if one of them is a file that runs leave.
        """
        return bool({_ASKED, _RESOLVED, _STATE, _LAST, _LOG, _SUMMARY} & set(files))

    # -- checkpoints

    @property
    def last_checkpoint(self) -> Path:
        """The newest checkpoint, which is written at least after every epoch; it need not exist."""
        return self.path / _LAST

    @property
    def previous_checkpoint(self) -> Path:
        """The last checkpoint before the newest one; it need not exist."""
        return self.path / _PREVIOUS

    @property
    def age(self) -> float:
        """Seconds since a checkpoint, or else the state, was written; infinite without either."""
        paths = (self.last_checkpoint, self.previous_checkpoint, self.path / _STATE)
        return next((_age(path) for path in paths if os.path.isfile(path)), float("inf"))

    def checkpoints(self) -> list[Path]:
        """List checkpoints in the order in which they count: the last, the one before, others.

        Returns:
            Files that exist; of the others the newest stands first.
        """
        first = [
            path
            for path in (self.last_checkpoint, self.previous_checkpoint)
            if os.path.isfile(path)
        ]
        others = [
            path
            for path in self.path.glob(_CHECKPOINTS)
            if os.path.isfile(path) and path not in first
        ]
        return first + sorted(others, key=_age)

    def find_checkpoint(self) -> Path | None:
        """Find the checkpoint that counts.

        Returns:
            Its path, or None if there is none.
        """
        return next(iter(self.checkpoints()), None)

    def stands_for(self, checkpoint: Path) -> bool:
        """Tell whether a checkpoint in the folder is the one that counts.

        Args:
            checkpoint: its path.

        Returns:
            True too if none counts.
        """
        last = self.find_checkpoint()
        return last is None or last.name == checkpoint.name

    # -- configuration, state and summary

    @property
    def lock_path(self) -> Path:
        """The file that a process locks while it works in the folder."""
        return self.path / _LOCK

    @property
    def config_path(self) -> Path | None:
        """The run's configuration, also that of solo-learn or the reference; None without one."""
        paths = [self.path / name for name in (_RESOLVED, _ASKED, _FOREIGN_CONFIG)]
        there = [path for path in paths if os.path.isfile(path)]
        # what is there and is no file is named when it is read
        return next(iter([*there, *filter(os.path.lexists, paths)]), None)

    def read_config(self) -> DictConfig:
        """Read the run's resolved configuration; nothing in it is resolved, run or looked up.

        Returns:
            The configuration, without settings that nothing reads any more.

        Raises:
            RunFileError: if there is none or it cannot be read, or it is none that a run writes,
                see :func:`~solo_plugins.runs.saved.check_saved`.
        """
        path = self.config_path
        if path is None:
            raise RunFileError(self.path / _ASKED, "there is no such file")
        return _read_saved(path)

    def read_asked(self) -> DictConfig | None:
        """Read the configuration as it was asked for, e.g. with a learning rate before scaling.

        Returns:
            The configuration, or None if the run has only one, as of earlier commits or others.

        Raises:
            RunFileError: as :meth:`read_config`.
        """
        asked = self.path / _ASKED
        if not os.path.lexists(asked) or self.config_path == asked:
            return None
        return _read_saved(asked, asked=True)

    def write_config(self, asked: DictConfig, resolved: DictConfig) -> None:
        """Write the run's configuration.

        Args:
            asked: as it was asked for, which can be run again.
            resolved: what came of it.
        """
        plain = OmegaConf.create(OmegaConf.to_container(asked, resolve=True))
        write_text(self.path / _ASKED, _HYDRA + OmegaConf.to_yaml(plain))
        write_text(self.path / _RESOLVED, OmegaConf.to_yaml(resolved))

    def read_state(self) -> RunState | None:
        """Read what has become of the run.

        Returns:
            The state. Of a damaged one, or of a run of an earlier commit, which wrote none, it is
            seen from the summary what has become of the run; None if nothing is known.
        """
        with suppress(RunFileError, TypeError):
            return RunState.from_json(parse_json(self.path / _STATE))
        try:
            summary, cfg = self.read_summary(), self.read_config()
            epochs, steps = int(summary["epochs"]), int(summary.get("steps", 0))
        except (RunFileError, KeyError, TypeError, ValueError, OverflowError):
            return None
        last, most = cfg.get("max_epochs"), cfg.get("max_steps") or -1
        done = last is None or epochs >= last or 0 < most <= steps
        return RunState("finished" if done else "stopped", "", epochs, steps, "", "", 0, "")

    def write_state(self, state: RunState) -> None:
        """Write what has become of the run.

        Args:
            state: the state.
        """
        write_json(self.path / _STATE, asdict(state))

    @property
    def finished(self) -> bool:
        """Whether the run's last epoch is done and its summary is there."""
        state = self.read_state()
        if state is None or state.status != "finished":
            return False
        try:
            self.read_summary()
        except RunFileError:
            return False
        return True

    def clean(self) -> None:
        """Remove temporary files of killed processes; the caller holds the lock."""
        clean(self.path)

    def remove_if_nothing_came_of_it(self) -> None:
        """Remove the folder if it holds no log, no checkpoint and no result."""
        small = {_ASKED, _RESOLVED, _STATE, _LOCK}
        if {path.name for path in self.path.iterdir()} <= small:
            for path in list(self.path.iterdir()):
                path.unlink()
            self.path.rmdir()

    @property
    def has_summary(self) -> bool:
        """Whether there is a summary, readable or not, or something else of its name."""
        return os.path.lexists(self.path / _SUMMARY)

    def read_summary(self) -> dict[str, Any]:
        """Read the run's summary.

        Returns:
            The last value of every metric, and facts about the run.

        Raises:
            RunFileError: if there is none or it cannot be read.
        """
        return parse_json(self.path / _SUMMARY)

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write the run's summary.

        Args:
            summary: what ``json`` can write.
        """
        write_json(self.path / _SUMMARY, dict(sorted(summary.items())))

    # -- logs

    @property
    def log_path(self) -> Path:
        """The log of the whole run, as CSV."""
        return self.path / _LOG

    def logs(self) -> list[Path]:
        """List the logs of all parts of the run, oldest first.

        Earlier commits began a file with each part. Today there is one.
        """
        pattern = re.escape(_OLD_LOG).replace(r"\{\}", r"(\d{1,9})")
        old = [(re.fullmatch(pattern, path.name), path) for path in self.path.glob("*.csv")]
        numbered = sorted((int(found[1]), path) for found, path in old if found)
        current = [self.log_path] if os.path.lexists(self.log_path) else []
        return [*(path for _, path in numbered), *current]

    # -- results of evaluations

    def evaluation_path(
        self, kind: str, features: str | None = None, data: str | None = None
    ) -> Path:
        """Name the file of an evaluation's result.

        Args:
            kind: ``knn``, ``linear``, ``linear-cached`` or ``finetuned``.
            features: ``backbone`` or ``projector``; None for ``knn``, which has both.
            data: what other data it is on; None for the run's own.

        Returns:
            Its path, whether it exists or not.
        """
        stem = kind if features is None else f"{kind}-{features}"
        return self.path / (f"{stem}.json" if data is None else f"{stem}@{folder_name(data)}.json")

    def evaluations(self) -> list[Path]:
        """List the results of evaluations, on the run's own data and on others, by name."""
        kinds = ("knn", "linear", "finetuned")
        return sorted(path for kind in kinds for path in self.path.glob(f"{kind}*.json"))

    def read_evaluation(self, path: Path) -> dict[str, Any] | None:
        """Read an evaluation's result.

        Args:
            path: as from :meth:`evaluation_path`.

        Returns:
            The result, or None if there is none.

        Raises:
            RunFileError: if it cannot be read.
        """
        return parse_json(path) if os.path.lexists(path) else None

    def write_evaluation(self, path: Path, result: Mapping[str, Any]) -> None:
        """Write an evaluation's result.

        Args:
            path: as from :meth:`evaluation_path`.
            result: what ``json`` can write.
        """
        write_json(path, result)

    # -- probes on other data sets

    def transfer_path(self, digest: str) -> Path:
        """Name the table of a network's probes on other data sets.

        Args:
            digest: what tells networks and protocols apart.

        Returns:
            Its path, whether it exists or not.
        """
        return self.path / f"{_TRANSFER}-{digest}.json"

    def transfers(self) -> list[Path]:
        """List the tables of probes on other data sets, the one that was written last first."""
        return sorted(self.path.glob(f"{_TRANSFER}-*.json"), key=_age)


def _read_saved(path: Path, *, asked: bool = False) -> DictConfig:
    """Read a saved configuration, without settings that nothing reads any more."""
    content = parse_yaml(path) if path.suffix == ".yaml" else inlined(parse_json(path))
    content.pop("defaults", None)  # hydra's, in what was asked for
    try:
        check_saved(content, asked=asked)
    except ValueError as error:
        raise RunFileError(path, str(error)) from error
    cfg = OmegaConf.create(content)
    kwargs = cfg.get("method_kwargs")
    for name, off in _RETIRED.items():
        if isinstance(kwargs, DictConfig) and kwargs.get(name) == off:
            del kwargs[name]
    return cfg


def _age(path: Path) -> float:
    try:
        return max(0.0, time.time() - path.stat().st_mtime)
    except OSError:
        return float("inf")


def _job() -> str:
    job = os.environ.get("SLURM_JOB_ID")
    return f"{job}.{os.environ.get('SLURM_RESTART_COUNT', '0')}" if job else ""


def _number(job: str) -> str:
    return job.partition(".")[0]
