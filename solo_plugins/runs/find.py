# SPDX-License-Identifier: MIT
"""Finding the run that a configuration belongs to, and taking it up."""

__all__ = ["ResumePoint", "claimed", "compared", "find_run", "processes"]

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf

from solo_plugins.errors import ConfigurationError
from solo_plugins.runs.checkpoints import load_checkpoint
from solo_plugins.runs.files import RunFileError
from solo_plugins.runs.folder import RunFolder, RunState, folder_name
from solo_plugins.runs.lock import HeldError, held

# Settings that say where, how fast and how far a run goes, not what it computes. The number of
# processes, which devices and nodes come to, counts; so do the fingerprints of folders of images,
# by which a folder that was moved is known again.
_NOT_COMPARED = (
    "accelerator", "auto_resume", "auto_umap", "checkpoint", "data.num_workers", "data.preload",
    "data.train_path", "data.val_path", "debug_augmentations", "devices", "enable_model_summary",
    "enable_progress_bar", "log_every_n_steps", "max_time", "num_nodes", "profiler",
    "resume_from_checkpoint", "strategy", "wandb",
)  # fmt: skip
_FINGERPRINTS = {"train_path": "train_fingerprint", "val_path": "val_fingerprint"}
# They follow from the number of processes.
_RATES = ("optimizer.lr", "optimizer.classifier_lr")
# By this variable the first process tells those that it starts where the run is.
_TOLD = "SOLO_PLUGINS_RUN"
_STARTING = ".starting.lock"
_MOST_NAMED = 3


class ResumePoint(NamedTuple):
    """Where a run begins or goes on.

    Args:
        folder: the run's folder.
        checkpoint: what to continue from, or None at the beginning.
        finished: whether the last epoch is done.
        notes: lines for the user.
        lengthens: whether the checkpoint is that of another run, whose schedule was another.
    """

    folder: RunFolder
    checkpoint: Path | None
    finished: bool
    notes: tuple[str, ...] = ()
    lengthens: bool = False


def find_run(cfg: DictConfig, kind: str | None = None) -> ResumePoint:
    """Choose the folder of a run, and the checkpoint to continue from.

    With ``auto_resume.enabled`` that is the newest run of the same configuration and data, if its
    last checkpoint is at most ``auto_resume.max_hours`` old or it is finished; else a new folder
    ``<checkpoint.dir>/<kind>/<name>-<time>``. A checkpoint of ``resume_from_checkpoint`` whose run
    has other settings, such as more epochs, is where a new run begins. Nothing is written.

    Args:
        cfg: the resolved configuration. ``begins_from`` is added to it, the checkpoint of another
            run that this one begins from, or None.
        kind: the folder of all runs of this kind, ``method`` if it is None.

    Returns:
        The run.

    Raises:
        ConfigurationError: if ``resume_from_checkpoint`` does not exist, or the run is under way.
    """
    parent = Path(cfg.checkpoint.dir) / (kind or cfg.method)
    cfg.begins_from = None
    if rank_zero_only.rank and _TOLD in os.environ:  # type: ignore[attr-defined]
        return _told(cfg)
    notes: tuple[str, ...] = ()
    begin = None
    if cfg.resume_from_checkpoint is not None:
        checkpoint, notes = _given(cfg.resume_from_checkpoint)
        own = RunFolder(checkpoint.parent)
        differing = _differences(own, cfg)
        if not differing:
            return ResumePoint(own, checkpoint, own.finished, notes)
        _check_same_optimizer(own, cfg)
        begin, modified = checkpoint, checkpoint.stat().st_mtime_ns
        cfg.begins_from = {"checkpoint": str(checkpoint.resolve()), "modified": modified}
        notes += (
            f"{own} is a run of other settings ({', '.join(differing)}): a new run begins from "
            f"{checkpoint.name}.",
        )
    if cfg.auto_resume.enabled:
        found, passed_over = _find(parent, cfg)
        if found is not None:
            return found._replace(notes=found.notes + passed_over)
        notes += passed_over
    path = parent / f"{folder_name(cfg.name)}-{time.strftime('%Y%m%d-%H%M%S')}"
    return ResumePoint(RunFolder(path), begin, finished=False, notes=notes, lengthens=bool(begin))


@contextmanager
def claimed(run: ResumePoint, cfg: DictConfig, asked: DictConfig) -> Iterator[ResumePoint]:
    """Take a run up: make its folder if it is new, and keep other processes out of it.

    Of runs that start in the same second, on one machine or on several that share a disk, the first
    gets the name and the others a number behind it. Of a run's own processes the first does this;
    the others, to which Lightning tells where checkpoints lie, write nothing.

    Args:
        run: as found.
        cfg: the resolved configuration.
        asked: the configuration as it was asked for.

    Yields:
        The run, with the folder that it got. Whatever ends the block by an error leaves the run
        interrupted; a folder in which nothing but the configuration is left is removed.

    Raises:
        HeldError: if a living process works in the folder, or began the same run a moment ago.
    """
    if rank_zero_only.rank:  # type: ignore[attr-defined]
        yield run
        return
    parent = run.folder.path.parent
    new = run.checkpoint is None or run.lengthens
    parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        with held(Path(cfg.checkpoint.dir) / _STARTING, wait=True):
            if new and cfg.auto_resume.enabled:
                found, _ = _find(parent, cfg)  # refuses what is under way by now
                new, run = found is None, found or run
            if new:
                run = run._replace(folder=RunFolder(_make(run.folder.path)))
            state = run.folder.read_state()
            with _named(run.folder):
                stack.enter_context(_lock(run.folder, state))
            run.folder.clean()
            run.folder.write_config(asked, cfg)
            run.folder.write_state(state.now() if state is not None else RunState())
        told = {"folder": str(run.folder), "checkpoint": str(run.checkpoint or "")}
        os.environ[_TOLD] = json.dumps({**told, "lengthens": run.lengthens})
        stack.callback(os.environ.pop, _TOLD, None)
        try:
            yield run
        except BaseException as error:
            reason = f"{type(error).__name__}: {error}".partition("\n")[0][:200]
            _interrupt(run.folder, reason)
            run.folder.remove_if_nothing_came_of_it()
            raise


def compared(cfg: DictConfig) -> dict[str, Any]:
    """Return the settings that decide what a run computes: its identity.

    Args:
        cfg: a resolved configuration.

    Returns:
        Nested settings; two runs of equal ones are the same run.
    """
    plain: Any = OmegaConf.to_container(cfg, resolve=True)
    plain["world_size"] = processes(cfg)
    plain.setdefault("begins_from", None)
    plain.setdefault("sync_batchnorm", False)
    # what earlier commits did not know
    if "performance" in plain and "method" in plain:
        plain["performance"].setdefault("compile", False)
    if "data" in plain and "pretrained_feature_extractor" in plain:
        plain["data"].setdefault("shots", None)
    if plain.get("data", {}).get("format") != "dali":
        plain.pop("dali", None)  # nothing reads it
    for key in _NOT_COMPARED:
        block, _, name = key.rpartition(".")
        place = plain.get(block, {}) if block else plain
        fingerprint = _FINGERPRINTS.get(name)
        # Earlier commits knew the paths alone.
        if fingerprint is None or fingerprint in place:
            place.pop(name, None)
    return plain


def processes(cfg: Mapping[str, Any]) -> int:
    """Count the processes of a resolved configuration.

    Args:
        cfg: the configuration; ``devices`` is a number or a list.

    Returns:
        Devices times nodes.
    """
    devices = cfg.get("devices") or 1
    count = devices if isinstance(devices, int) else len(devices)
    return count * (cfg.get("num_nodes") or 1)


def _find(parent: Path, cfg: DictConfig) -> tuple[ResumePoint | None, tuple[str, ...]]:
    """Find the newest run of the same identity, and name what cannot be read."""
    damaged, elsewhere = [], None
    for folder in RunFolder.below(parent):
        try:
            differing = _differences(folder, cfg)
        except RunFileError as error:
            damaged.append(str(error))
            continue
        if differing:
            if {"world_size"} <= {*differing} <= {"world_size", *_RATES}:
                elsewhere = elsewhere or folder
            continue
        found = _take_up(folder, cfg)
        if found is not None:
            return found, _name(damaged)
    notes = _name(damaged)
    if elsewhere is not None:
        notes += (
            f"{elsewhere} is this run on another number of processes, where batches and statistics "
            "differ: a new one begins.",
        )
    return None, notes


def _name(damaged: list[str]) -> tuple[str, ...]:
    lines = [f"Passed over: {text}." for text in damaged[:_MOST_NAMED]]
    more = len(damaged) - _MOST_NAMED
    return (*lines, f"Passed over: {more} more.") if more > 0 else tuple(lines)


def _take_up(folder: RunFolder, cfg: DictConfig) -> ResumePoint | None:
    if folder.finished:
        return ResumePoint(folder, folder.find_checkpoint(), finished=True)
    state = folder.read_state()
    if state is not None and state.status == "running" and not rank_zero_only.rank:  # type: ignore[attr-defined]
        with _named(folder), _lock(folder, state):
            pass  # nobody works in it
    if folder.age >= 3600 * cfg.auto_resume.max_hours:
        return None
    if folder.find_checkpoint() is None:
        return None
    checkpoint, notes = _readable(folder)
    return ResumePoint(folder, checkpoint, finished=False, notes=notes)


def _readable(folder: RunFolder) -> tuple[Path, tuple[str, ...]]:
    """Find the newest checkpoint that can be read, and name those that cannot."""
    notes = []
    for path in folder.checkpoints():
        try:
            load_checkpoint(path)
        except ConfigurationError as error:
            notes.append(f"Passed over: {error}")
        else:
            return path, tuple(notes)
    raise ConfigurationError(
        f"Expected {str(folder)!r} to hold a checkpoint that can be read, to go on from, but got "
        f"{'; '.join(notes) or 'none'}. `auto_resume.enabled=false` begins anew."
    )


def _lock(folder: RunFolder, state: RunState | None) -> Any:
    elsewhere = state is not None and state.may_live_elsewhere
    return held(folder.lock_path, may_live_elsewhere=elsewhere)


@contextmanager
def _named(folder: RunFolder) -> Iterator[None]:
    """Say which run is under way, where, and what can be done."""
    try:
        yield
    except HeldError as error:
        state = folder.read_state()
        where = "" if state is None else f" (process {state.process} on {state.host})"
        raise HeldError(
            f"Expected {str(folder)!r} to be free but {str(error).rstrip('.')}{where}: wait for "
            "it, or begin another run with `auto_resume.enabled=false`."
        ) from error


def _interrupt(folder: RunFolder, reason: str) -> None:
    state = folder.read_state()
    if state is not None and state.status == "running":
        folder.write_state(replace(state, status="interrupted", reason=reason))


def _given(setting: Any) -> tuple[Path, tuple[str, ...]]:
    """Find the checkpoint that ``resume_from_checkpoint`` means, and lines for the user."""
    path = Path(setting)
    if os.path.isdir(path) and RunFolder(path).checkpoints():
        return _readable(RunFolder(path))
    if not os.path.isfile(path):
        raise ConfigurationError(
            "Expected `resume_from_checkpoint` to be a checkpoint or a run's folder but got "
            f"{str(setting)!r}."
        )
    return path, ()


def _differences(folder: RunFolder, cfg: DictConfig) -> list[str]:
    """List the settings in which a run has another identity; a word if it has no configuration."""
    if folder.config_path is None:
        return ["no configuration is known"]
    old, new = _flat(compared(folder.read_config())), _flat(compared(cfg))
    for path, fingerprint in _FINGERPRINTS.items():
        if f"data.{fingerprint}" not in old and new.get(f"data.{fingerprint}") is None:
            old.pop(f"data.{path}", None)  # a data set whose name says it all
        elif f"data.{fingerprint}" not in old:
            new[f"data.{path}"] = OmegaConf.select(cfg, f"data.{path}")
            new.pop(f"data.{fingerprint}")
    keys = {**old, **new}
    found = [key for key in keys if old.get(key) != new.get(key)]
    return sorted(found, key=lambda key: (key in _RATES, key))


def _check_same_optimizer(folder: RunFolder, cfg: DictConfig) -> None:
    """Refuse to go on by momenta of another kind of optimizer, or of other groups of weights."""
    if folder.config_path is None:
        return
    before = folder.read_config()
    for key in ("optimizer.name", "optimizer.exclude_bias_n_norm_wd"):
        old, new = OmegaConf.select(before, key), OmegaConf.select(cfg, key)
        if old is not None and old != new:
            raise ConfigurationError(
                f"Expected `{key}` to be {old!r}, as that of {folder}, from whose checkpoint the "
                f"run is to begin, but got {new!r}."
            )


def _flat(settings: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(settings, dict) or (prefix and not settings):
        return {prefix: settings}
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        flat |= _flat(value, f"{prefix}.{key}" if prefix else str(key))
    return flat


def _told(cfg: DictConfig) -> ResumePoint:
    told = json.loads(os.environ[_TOLD])
    checkpoint = Path(told["checkpoint"]) if told["checkpoint"] else None
    folder = RunFolder(Path(told["folder"]))
    return ResumePoint(folder, checkpoint, finished=False, lengthens=told["lengthens"])


def _make(wanted: Path) -> Path:
    folder, number = wanted, 2
    while True:
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            folder, number = wanted.with_name(f"{wanted.name}-{number}"), number + 1
        else:
            return folder
