# SPDX-License-Identifier: MIT
"""Lightning's trainer, logs and checkpoints as every kind of run has them."""

__all__ = ["checkpoint_callbacks", "fit", "in_memory_format", "say"]

import inspect
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf
from torch import nn

from solo_plugins.args.hardware import Hardware
from solo_plugins.data import PretrainDataModule
from solo_plugins.runs.find import ResumePoint
from solo_plugins.training.callbacks import last_metrics


def fit(
    model: LightningModule,
    data: PretrainDataModule,
    cfg: DictConfig,
    run: ResumePoint,
    *,
    hardware: Hardware,
    callbacks: Sequence[Callback],
) -> dict[str, float]:
    """Train a model in a run's folder, from the run's checkpoint if it has one.

    Args:
        model: what to train.
        data: what to train on.
        cfg: the resolved configuration; all of Lightning's own settings in it are passed on.
        run: the run.
        hardware: what the run goes on.
        callbacks: all callbacks, those that write checkpoints included.

    Returns:
        The last value of every metric.
    """
    with warnings.catch_warnings():
        # Of the run's own folder, and of a deprecation that Lightning has to follow itself.
        warnings.filterwarnings("ignore", message=".* directory .* exists and is not empty")
        warnings.filterwarnings("ignore", message=".*LeafSpec.* is deprecated")
        settings = _settings(cfg, hardware, validates=data.validates)
        trainer = Trainer(**settings, logger=_loggers(cfg, run), callbacks=list(callbacks))
        trainer.fit(model, datamodule=data, ckpt_path=run.checkpoint)
    return last_metrics(trainer)


def checkpoint_callbacks(cfg: DictConfig, run: ResumePoint) -> list[Callback]:
    """Build what writes checkpoints: the last one, and those that are kept by the way.

    Args:
        cfg: the resolved configuration; ``checkpoint`` and ``name`` are read.
        run: the run.

    Returns:
        One callback, or two; none if ``checkpoint.enabled`` is false.
    """
    if not cfg.checkpoint.enabled:
        return []
    # Written after the epoch's validation, and before the next epoch's first draw.
    every: dict[str, Any] = {
        "dirpath": run.folder.path,
        "save_on_train_epoch_end": True,
        "auto_insert_metric_name": False,
        "enable_version_counter": False,
    }
    callbacks: list[Callback] = [ModelCheckpoint(filename=run.folder.LAST_CHECKPOINT_STEM, **every)]
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


def _loggers(cfg: DictConfig, run: ResumePoint) -> list[Logger]:
    folder = run.folder.path
    rank_zero_only(run.folder.keep_log)()
    loggers: list[Logger] = [CSVLogger(folder, name="", version="")]
    if cfg.wandb.enabled:
        wandb = WandbLogger(
            name=cfg.name,
            # The same folder is the same run, when it is resumed too.
            id=folder.name,
            resume="allow",
            save_dir=folder,
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
