# SPDX-License-Identifier: MIT
"""Finding the run that a configuration belongs to."""

__all__ = ["ResumePoint", "claimed", "compared", "find_run"]

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf

from solo_plugins.errors import ConfigurationError
from solo_plugins.runs.folder import RunFolder

# Settings that change where and how fast a run goes, not what it computes.
_NOT_COMPARED = (
    "accelerator", "auto_resume", "checkpoint", "data.num_workers", "data.preload",
    "data.train_path", "data.val_path", "debug_augmentations", "devices", "enable_progress_bar",
    "log_every_n_steps", "precision", "resume_from_checkpoint", "strategy", "sync_batchnorm",
    "wandb",
)  # fmt: skip


class ResumePoint(NamedTuple):
    """Where a run begins or goes on.

    Args:
        folder: the run's folder.
        checkpoint: what to continue from, or None at the beginning.
        finished: whether the last epoch is done.
    """

    folder: RunFolder
    checkpoint: Path | None
    finished: bool


def find_run(cfg: DictConfig, kind: str | None = None) -> ResumePoint:
    """Choose the folder of a run, and the checkpoint to continue from.

    With ``auto_resume.enabled`` that is the newest run of the same configuration, if its last
    checkpoint is at most ``auto_resume.max_hours`` old or it is finished; else a new folder
    ``<checkpoint.dir>/<kind>/<name>-<time>``. Nothing is written.

    Args:
        cfg: the resolved configuration.
        kind: the folder of all runs of this kind, ``method`` if it is None.

    Returns:
        The run.

    Raises:
        ConfigurationError: if ``resume_from_checkpoint`` does not exist.
    """
    parent = Path(cfg.checkpoint.dir) / (kind or cfg.method)
    if cfg.resume_from_checkpoint is not None:
        checkpoint = Path(cfg.resume_from_checkpoint)
        if checkpoint.is_dir():
            checkpoint = RunFolder(checkpoint).last_checkpoint
        if not checkpoint.is_file():
            raise ConfigurationError(
                "Expected `resume_from_checkpoint` to be a checkpoint or a run's folder but got "
                f"{cfg.resume_from_checkpoint!r}."
            )
        return ResumePoint(RunFolder(checkpoint.parent), checkpoint, finished=False)
    if cfg.auto_resume.enabled:
        for folder in RunFolder.below(parent):
            fresh = folder.checkpoint_age < 3600 * cfg.auto_resume.max_hours
            if (fresh or folder.finished) and _same(folder, cfg):
                return ResumePoint(folder, folder.last_checkpoint, folder.finished)
    path = parent / f"{cfg.name}-{time.strftime('%Y%m%d-%H%M%S')}"
    return ResumePoint(RunFolder(path), None, finished=False)


@contextmanager
def claimed(run: ResumePoint) -> Iterator[ResumePoint]:
    """Make a new run's folder, so that no other run can take it.

    Of runs that start in the same second, on one machine or on several that share a disk, the first
    gets the name and the others a number behind it. Of a run's own processes the first makes it;
    the others, to which Lightning tells where checkpoints lie, make nothing.

    Args:
        run: as found.

    Yields:
        The run, with the folder that it got. A folder in which nothing has been written when an
        error ends the run is removed.
    """
    if run.checkpoint is not None or rank_zero_only.rank:  # type: ignore[attr-defined]
        yield run
        return
    run = run._replace(folder=RunFolder(_make(run.folder.path)))
    try:
        yield run
    finally:
        with suppress(OSError):
            run.folder.path.rmdir()


def compared(cfg: Any) -> dict[str, Any]:
    """Return the settings that decide what a run computes, not where and how fast.

    Args:
        cfg: a resolved configuration.

    Returns:
        Nested settings; two runs of equal ones are the same run.
    """
    plain: Any = OmegaConf.to_container(cfg, resolve=True)
    for key in _NOT_COMPARED:
        block, _, name = key.rpartition(".")
        (plain[block] if block else plain).pop(name, None)
    return plain


def _make(wanted: Path) -> Path:
    folder, number = wanted, 2
    while True:
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            folder, number = wanted.with_name(f"{wanted.name}-{number}"), number + 1
        else:
            return folder


def _same(folder: RunFolder, cfg: DictConfig) -> bool:
    return folder.config_path is not None and compared(folder.read_config()) == compared(cfg)
