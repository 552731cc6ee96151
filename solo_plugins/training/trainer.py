# SPDX-License-Identifier: MIT
"""Lightning's trainer, with the logs, checkpoints and callbacks that every run has."""

__all__ = ["compiled", "fit", "in_memory_format", "say"]

import importlib.util
import inspect
import logging
import os
import shutil
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer, profilers
from lightning.pytorch.callbacks import (
    Callback,
    LearningRateMonitor,
    ProgressBar,
)
from lightning.pytorch.loggers import Logger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig, OmegaConf
from torch import nn

from solo_plugins.args.hardware import Hardware
from solo_plugins.data import PretrainDataModule
from solo_plugins.errors import ConfigurationError
from solo_plugins.runs.checkpoints import DurableCheckpointIO, check_weights, load_checkpoint
from solo_plugins.runs.description import Description
from solo_plugins.runs.find import ResumePoint, claimed
from solo_plugins.runs.folder import RunFolder, RunState, folder_name
from solo_plugins.runs.log import MetricsLog
from solo_plugins.training.callbacks import RecordRun, SeedSteps, StopOnNonFinite
from solo_plugins.training.checkpointing import (
    KeptCheckpoint,
    LastCheckpoint,
    LimitReached,
    NewSchedule,
)
from solo_plugins.training.progress import Shown, progress_callbacks
from solo_plugins.training.signals import Interrupted, Signals, ends_a_job, requeue
from solo_plugins.training.strategy import DataParallel
from solo_plugins.training.umap import AutoUMAP
from solo_plugins.untrusted.text import printable

# What a line for each epoch of a classifier, and of pretraining, tells.
_LINEAR = Shown("train_loss", {"top 1": "val_acc1", "top 5": "val_acc5"})
_ONLINE = {"kNN": "val_knn_acc1", "probe": "val_acc1"}
# Epochs in which a loss is a mean of nothing, NaN: DeepCluster has no clusters in its first.
_UNDEFINED_EPOCHS = {"deepclusterv2": 1}


def fit(
    model: LightningModule,
    data: PretrainDataModule,
    cfg: DictConfig,
    run: ResumePoint,
    *,
    asked: DictConfig,
    hardware: Hardware,
    description: Description | None = None,
    callbacks: Sequence[Callback] = (),
    not_checked: tuple[str, ...] = (),
) -> tuple[RunFolder, dict[str, float]]:
    """Train a model in a run's folder, from the run's checkpoint if it has one.

    Args:
        model: the model.
        data: the images.
        cfg: the resolved configuration; all of Lightning's own settings in it are passed on.
        run: where the run begins or goes on.
        asked: the configuration as it was asked for.
        hardware: the hardware that was chosen.
        description: what a report shows of a pretraining run.
        callbacks: more callbacks, called before those that every run has.
        not_checked: terms of the loss that may be NaN.

    Returns:
        The run's folder and the last value of every metric.

    Raises:
        ConfigurationError: if the checkpoint does not fit the model, or no step was made.
        NonFiniteLossError: if the loss diverges.
        Interrupted: at the next step's end after a signal; the checkpoint is written then.
    """
    first_step = 0
    if run.checkpoint is not None:
        saved = load_checkpoint(run.checkpoint)
        if not run.lengthens:
            RecordRun.check_own(run.checkpoint, saved)
        else:
            _check_longer(cfg, saved, run.checkpoint)
        check_weights(saved["state_dict"], model.state_dict(), run.checkpoint)
        first_step = _next_logged_step(saved)
        say(f"Resuming from {run.checkpoint}.")
    with Signals() as signals, claimed(run, cfg, asked) as run, warnings.catch_warnings():
        if run.checkpoint is None:
            say(f"Run: {run.folder.path}")
        # About a deprecation that Lightning has to follow itself.
        warnings.filterwarnings("ignore", message=".*LeafSpec.* is deprecated")
        # On few images: what is logged of each step is logged of each epoch, too.
        warnings.filterwarnings("ignore", message=".*smaller than the logging interval.*")
        # On a cluster's machine outside of its jobs.
        warnings.filterwarnings("ignore", message="The `srun` command is available")
        log = MetricsLog(run.folder, first_step)
        record = RecordRun(run.folder, run.checkpoint, description)
        draws = "auto_umap" in cfg and cfg.auto_umap.enabled
        every = [
            *callbacks,
            *([NewSchedule(say)] if run.lengthens else []),
            record,
            SeedSteps(cfg.seed),
            StopOnNonFinite(
                run.folder,
                cfg.get("log_every_n_steps") or 50,
                skip=not_checked,
                first_epoch=_UNDEFINED_EPOCHS.get(cfg.get("method"), 0),
            ),
            LearningRateMonitor(logging_interval="step"),
            *progress_callbacks(
                _LINEAR if description is None else Shown(description.loss, _ONLINE),
                say,
                enabled=cfg.get("enable_progress_bar"),
                others=callbacks,
            ),
            *([AutoUMAP(run.folder, cfg.auto_umap)] if draws else []),
            *_checkpoint_callbacks(cfg, run.folder, signals, log),
        ]
        settings = _settings(cfg, hardware, run.folder, validates=data.validates)
        settings["enable_progress_bar"] = any(isinstance(one, ProgressBar) for one in every)
        loggers = [log, *_wandb(cfg, run.folder)]
        stopped = ""
        try:
            trainer = Trainer(**settings, logger=loggers, callbacks=every)
            try:
                trainer.fit(model, datamodule=data, ckpt_path=run.checkpoint)
            finally:
                _note_place(trainer, run.folder)
        except LimitReached as limit:
            stopped = str(limit)
        except MisconfigurationException as error:
            raise _named(error, cfg) from error
        except Interrupted as interrupted:
            _say_how_to_go_on(interrupted, cfg, run.folder, trainer.global_step)
            raise
        _conclude(trainer, record, cfg, stopped)
        if cfg.get("profiler"):
            _show_profile(trainer)
    return run.folder, record.metrics(trainer)


def _check_longer(cfg: DictConfig, checkpoint: Mapping[str, Any], path: Path) -> None:
    """Refuse to begin a run from another's checkpoint that has come to the run's end already."""
    loop = checkpoint.get("loops", {}).get("fit_loop", {}).get("epoch_progress", {})
    epochs = int(loop.get("current", {}).get("completed", 0))
    steps = int(checkpoint.get("global_step", 0))
    for key, most, done in (
        ("max_epochs", cfg.max_epochs, epochs),
        ("max_steps", cfg.get("max_steps") or -1, steps),
    ):
        if 0 < most <= done:
            raise ConfigurationError(
                f"Expected `{key}` to be above {done}, which {str(path)!r} has done, to begin a "
                f"run from it, but got {most}."
            )


def _named(error: MisconfigurationException, cfg: DictConfig) -> ConfigurationError:
    """Say in one line what Lightning refuses: settings that do not go together."""
    first = " ".join(str(error).partition("\n")[0].split())[:300]
    if first.startswith("`ModelCheckpoint(monitor="):
        return ConfigurationError(
            "Expected `checkpoint.monitor` to be a metric that the run logs by the end of its "
            f"first epoch, a column of metrics.csv, but got {cfg.checkpoint.monitor!r}."
        )
    return ConfigurationError(f"Lightning's trainer refuses its settings: {first}")


@rank_zero_only
def _conclude(trainer: Trainer, record: RecordRun, cfg: DictConfig, stopped: str) -> None:
    """Write the summary of a run whose last epoch is done, and what has become of it."""
    epochs, steps, folder = trainer.current_epoch, trainer.global_step, record.folder
    if not steps and not stopped:
        raise ConfigurationError(
            "Expected the run to make a step but it made none: `limit_train_batches` is "
            f"{cfg.get('limit_train_batches')} and `optimizer.batch_size` "
            f"{cfg.optimizer.batch_size}."
        )
    state = folder.read_state() or RunState()
    if cfg.get("fast_dev_run"):
        folder.remove_if_nothing_came_of_it()
        return
    most = cfg.get("max_steps") or -1
    if not stopped and (epochs >= cfg.max_epochs or 0 < most <= steps):
        record.write_summary(trainer)
        folder.write_state(replace(state, status="finished", epochs=epochs, steps=steps))
        return
    reason = stopped or "a callback"
    folder.write_state(replace(state, status="stopped", reason=reason, epochs=epochs, steps=steps))
    say(
        f"Stopped by {reason} in epoch {epochs + 1} of {cfg.max_epochs}, after {steps} steps: the "
        f"run is not finished. {_again(cfg, folder)}"
    )


def _show_profile(trainer: Trainer) -> None:
    """Print what Lightning's profiler measured, unless its logger has done so."""
    # hydra's `disabled` logging, which our YAMLs have, disables the loggers of all libraries
    if not logging.getLogger(profilers.profiler.__name__).isEnabledFor(logging.INFO):
        profiler: Any = vars(trainer)["profiler"]  # Lightning does not declare it
        say(profiler.summary())


@rank_zero_only
def _note_place(trainer: Trainer, folder: RunFolder) -> None:
    """Write how far a run has come; what ended it is written where it is closed."""
    state = folder.read_state() or RunState()
    epochs, steps = trainer.current_epoch, trainer.global_step
    folder.write_state(replace(state, epochs=epochs, steps=steps))


@rank_zero_only
def _say_how_to_go_on(
    interrupted: Interrupted, cfg: DictConfig, folder: RunFolder, steps: int
) -> None:
    if ends_a_job(interrupted.signal) and cfg.auto_resume.enabled:
        say(requeue())
    say(f"{interrupted.signal.name}: stopped after {steps} steps. {_again(cfg, folder)}")


def _again(cfg: DictConfig, folder: RunFolder) -> str:
    checkpoint = folder.find_checkpoint()
    if checkpoint is None:
        return "There is no checkpoint yet to go on from."
    if cfg.auto_resume.enabled:
        return f"The same command goes on from {checkpoint}."
    return f"`resume_from_checkpoint={folder}` goes on from {checkpoint.name}."


def _next_logged_step(checkpoint: Mapping[str, Any]) -> int:
    """Read from a checkpoint which step Lightning logs next."""
    loop = checkpoint.get("loops", {}).get("fit_loop", {}).get("epoch_loop.state_dict", {})
    step = int(loop.get("_batches_that_stepped", checkpoint.get("global_step", 0)))
    # Lightning counts a step after the validation that follows it, but has logged it before.
    return step + LastCheckpoint.was_validating(checkpoint)


def in_memory_format(model: LightningModule, cfg: DictConfig) -> LightningModule:
    """Let a model compute with channels last, which is faster, unless that is switched off.

    Args:
        model: the model, changed in place.
        cfg: the configuration; ``performance`` is read.

    Returns:
        The same model.
    """
    if not cfg.performance.disable_channel_last:
        nn.Module.to(model, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model


def compiled(model: LightningModule, hardware: Hardware) -> LightningModule:
    """Let ``torch.compile`` translate a method's networks when they first run.

    Names of weights stay as they are.

    Args:
        model: a method, changed in place.
        hardware: where it will run.

    Returns:
        The same model.

    Raises:
        ConfigurationError: if the compiler that torch needs is missing.
    """
    cpp = os.environ.get("CXX", "g++")
    missing = {
        "cpu": f"a C++ compiler, {cpp!r}," if shutil.which(cpp) is None else "",
        "gpu": "Triton" if importlib.util.find_spec("triton") is None else "",
    }[hardware.accelerator]
    if missing:
        raise ConfigurationError(
            f"Expected {missing} to be installed with `performance.compile: true` on "
            f"{hardware.accelerator} but it is not found. `performance.compile=false` trains "
            "without it."
        )
    for name in ("backbone", "projector"):
        for network in (getattr(model, name, None), getattr(model, f"momentum_{name}", None)):
            if isinstance(network, nn.Module):
                network.compile()
    return model


@rank_zero_only
def say(line: str) -> None:
    """Print a line, once however many processes there are.

    Args:
        line: what to print; what a terminal would obey is shown as an escape.
    """
    print(printable(line), flush=True)


def _settings(
    cfg: DictConfig, hardware: Hardware, folder: RunFolder, *, validates: bool
) -> dict[str, Any]:
    known = inspect.signature(Trainer.__init__).parameters
    settings = {name: value for name, value in _plain(cfg).items() if name in known}
    settings.pop("max_time", None)  # a run stops between two steps, by a callback
    strategy: Any = hardware.strategy
    if strategy == "ddp":
        strategy = DataParallel(find_unused_parameters=False)
    if not validates:
        settings |= {"limit_val_batches": 0}
    return settings | {
        "strategy": strategy,
        "plugins": [DurableCheckpointIO()],
        # Where Lightning looks for checkpoints of its own under SLURM: not in the working folder.
        "default_root_dir": folder.path,
        # The data module shards and seeds by itself.
        "use_distributed_sampler": False,
    }


def _checkpoint_callbacks(
    cfg: DictConfig, folder: RunFolder, signals: Signals, log: MetricsLog
) -> list[Callback]:
    """Build a callback for the last checkpoint, and for those that are kept beside it."""
    options = cfg.checkpoint
    callbacks: list[Callback] = [
        LastCheckpoint(
            folder,
            signals,
            log,
            enabled=options.enabled and not cfg.get("fast_dev_run"),
            every_n_steps=options.every_n_steps,
            every_n_minutes=options.every_n_minutes,
            max_time=_plain(cfg).get("max_time"),
            say=say,
        )
    ]
    if not options.enabled:
        return callbacks
    every: dict[str, Any] = {
        "dirpath": folder.path,
        "save_on_train_epoch_end": True,
        "auto_insert_metric_name": False,
        "enable_version_counter": False,
    }
    if options.frequency > 1 or options.keep_prev:
        callbacks.append(
            KeptCheckpoint(
                filename=f"{folder_name(cfg.name)}-ep={{epoch}}",
                every_n_epochs=options.frequency,
                save_top_k=-1 if options.keep_prev else 1,
                **every,
            )
        )
    if options.monitor is not None:
        best = folder.BEST_CHECKPOINT_STEM
        callbacks.append(
            KeptCheckpoint(filename=best, monitor=options.monitor, mode=options.mode, **every)
        )
    return callbacks


def _wandb(cfg: DictConfig, run: RunFolder) -> list[Logger]:
    if not cfg.wandb.enabled:
        return []
    from wandb.errors import Error as WandbError  # a second of imports

    state = run.read_state()
    wandb = WandbLogger(
        name=cfg.name,
        # The same folder is the same run, when it is resumed too; on another machine it is not.
        id=f"{run.path.name}-{state.run_id}" if state is not None else run.path.name,
        resume="allow",
        save_dir=run.path,
        project=cfg.wandb.project,
        entity=cfg.wandb.entity,
        offline=cfg.wandb.offline,
    )
    try:
        wandb.log_hyperparams(_plain(cfg))  # by which wandb begins
    except WandbError as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigurationError(
            "Expected `wandb.enabled` to be true only where wandb can log, or with "
            f"`wandb.offline: true`, but: {reason}"
        ) from error
    return [wandb]


def _plain(cfg: DictConfig) -> dict[str, Any]:
    plain: Any = OmegaConf.to_container(cfg)
    return plain
