# SPDX-License-Identifier: MIT
"""Lightning's trainer, with the logs, checkpoints and callbacks that every run has."""

__all__ = ["fit", "in_memory_format", "say"]

import inspect
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf
from torch import nn

from solo_plugins.args.hardware import Hardware
from solo_plugins.data import PretrainDataModule
from solo_plugins.runs.checkpoints import check_fits
from solo_plugins.runs.description import Description
from solo_plugins.runs.find import ResumePoint, claimed
from solo_plugins.runs.folder import RunFolder
from solo_plugins.training.callbacks import RecordRun, StopOnNonFinite, last_metrics


def fit(
    model: LightningModule,
    data: PretrainDataModule,
    cfg: DictConfig,
    run: ResumePoint,
    *,
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
        hardware: the hardware that was chosen.
        description: what a report shows of a pretraining run.
        callbacks: more callbacks, called before those that every run has.
        not_checked: terms of the loss that may be NaN.

    Returns:
        The run's folder and the last value of every metric.

    Raises:
        ConfigurationError: if the checkpoint does not fit the model.
        NonFiniteLossError: if the loss diverges.
    """
    if run.checkpoint is not None:
        check_fits(model, run.checkpoint)
        say(f"Resuming from {run.checkpoint}.")
    with claimed(run) as run, warnings.catch_warnings():
        # About the run's own folder, and about a deprecation that Lightning has to follow itself.
        warnings.filterwarnings("ignore", message=".* directory .* exists and is not empty")
        warnings.filterwarnings("ignore", message=".*LeafSpec.* is deprecated")
        every = [
            *callbacks,
            RecordRun(run.folder, cfg, description),
            StopOnNonFinite(cfg.get("log_every_n_steps") or 50, skip=not_checked),
            LearningRateMonitor(logging_interval="step"),
            *_checkpoint_callbacks(cfg, run.folder),
        ]
        settings = _settings(cfg, hardware, validates=data.validates)
        trainer = Trainer(**settings, logger=_loggers(cfg, run.folder), callbacks=every)
        trainer.fit(model, datamodule=data, ckpt_path=run.checkpoint)
    return run.folder, last_metrics(trainer)


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


@rank_zero_only
def say(line: str) -> None:
    """Print a line, once however many processes there are.

    Args:
        line: what to print.
    """
    print(line, flush=True)


def _settings(cfg: DictConfig, hardware: Hardware, *, validates: bool) -> dict[str, Any]:
    known = inspect.signature(Trainer.__init__).parameters
    settings = {name: value for name, value in _plain(cfg).items() if name in known}
    strategy: Any = hardware.strategy
    if strategy == "ddp":
        strategy = DDPStrategy(find_unused_parameters=False)
    if not validates:
        settings |= {"limit_val_batches": 0}
    return settings | {
        "strategy": strategy,
        "enable_checkpointing": cfg.checkpoint.enabled,
        # The data module shards and seeds by itself.
        "use_distributed_sampler": False,
    }


def _checkpoint_callbacks(cfg: DictConfig, folder: RunFolder) -> list[Callback]:
    """Build one callback for the last checkpoint, and one for those that are kept if there are."""
    if not cfg.checkpoint.enabled:
        return []
    # Written after the epoch's validation, and before the next epoch's first draw.
    every: dict[str, Any] = {
        "dirpath": folder.path,
        "save_on_train_epoch_end": True,
        "auto_insert_metric_name": False,
        "enable_version_counter": False,
    }
    callbacks: list[Callback] = [ModelCheckpoint(filename=folder.LAST_CHECKPOINT_STEM, **every)]
    if cfg.checkpoint.frequency > 1 or cfg.checkpoint.keep_prev:
        callbacks.append(
            ModelCheckpoint(
                filename=f"{cfg.name}-ep={{epoch}}",
                every_n_epochs=cfg.checkpoint.frequency,
                save_top_k=-1 if cfg.checkpoint.keep_prev else 1,
                **every,
            )
        )
    return callbacks


def _loggers(cfg: DictConfig, run: RunFolder) -> list[Logger]:
    rank_zero_only(run.keep_log)()
    loggers: list[Logger] = [CSVLogger(run.path, name="", version="")]
    if cfg.wandb.enabled:
        wandb = WandbLogger(
            name=cfg.name,
            # The same folder is the same run, when it is resumed too.
            id=run.path.name,
            resume="allow",
            save_dir=run.path,
            project=cfg.wandb.project,
            entity=cfg.wandb.entity,
            offline=cfg.wandb.offline,
        )
        wandb.log_hyperparams(_plain(cfg))
        loggers.append(wandb)
    return loggers


def _plain(cfg: DictConfig) -> dict[str, Any]:
    plain: Any = OmegaConf.to_container(cfg)
    return plain
