# SPDX-License-Identifier: MIT
"""Pretraining from a configuration: what ``main_pretrain.py`` calls."""

__all__ = ["pretrain"]

import inspect
import json
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning.pytorch import LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import Callback, LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf

from solo_plugins.callbacks import RunFolder, StopOnNonFinite
from solo_plugins.config import parse_cfg
from solo_plugins.data import PretrainDataModule
from solo_plugins.framework import METHODS
from solo_plugins.hardware import Hardware
from solo_plugins.joint_embedding import JointEmbedding
from solo_plugins.registry import register
from solo_plugins.resume import Run, check_fits, claimed, find_run
from solo_plugins.sweep import check_processes


class Result(NamedTuple):
    """What a run came to.

    Args:
        folder: the run's folder.
        checkpoint: its last checkpoint, or None if ``checkpoint.enabled`` is false.
        metrics: the last value of every metric.
    """

    folder: Path
    checkpoint: Path | None
    metrics: dict[str, float]


def pretrain(cfg: DictConfig) -> Result:
    """Pretrain any registered method.

    Everything that can be wrong with a configuration is found before a file is written. A finished
    run of the same configuration is reported, not repeated, if ``auto_resume.enabled``.

    Args:
        cfg: the configuration as composed by hydra.

    Returns:
        Where the run lies and its last metrics.

    Raises:
        ConfigurationError: if the configuration cannot work.
        NonFiniteLossError: if the loss diverges.
    """
    register()
    cfg, hardware = parse_cfg(cfg)
    check_processes(hardware.num_devices * cfg.num_nodes)
    run = find_run(cfg)
    if run.finished:
        _say(f"{run.folder} is a finished run of this configuration: nothing to do.")
        result = Result(run.folder, run.checkpoint, _summary(run))
        _report(result)
        return result
    _say(str(hardware))
    seed_everything(cfg.seed, verbose=False)
    # Methods take lists and numbers out of the configuration they are given, and fill it in.
    model: LightningModule = METHODS[cfg.method](cfg.copy())
    if not cfg.performance.disable_channel_last:
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if run.checkpoint is not None:
        check_fits(model, run.checkpoint)
        _say(f"Resuming from {run.checkpoint}.")
    data = PretrainDataModule(cfg)
    data.check()
    with claimed(run) as run, warnings.catch_warnings():
        # Of the run's own folder, and of a deprecation that Lightning has to follow itself.
        warnings.filterwarnings("ignore", message=".* directory .* exists and is not empty")
        warnings.filterwarnings("ignore", message=".*LeafSpec.* is deprecated")
        trainer = _trainer(cfg, hardware, run, validates=data.validates)
        trainer.fit(model, datamodule=data, ckpt_path=run.checkpoint)
    checkpoint = run.folder / "last.ckpt" if cfg.checkpoint.enabled else None
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
    result = Result(run.folder, checkpoint, metrics)
    _report(result)
    return result


def _trainer(cfg: DictConfig, hardware: Hardware, run: Run, *, validates: bool) -> Trainer:
    settings = _plain(cfg)
    known = inspect.signature(Trainer.__init__).parameters
    settings = {name: value for name, value in settings.items() if name in known}
    strategy: Any = hardware.strategy
    if strategy == "ddp":
        strategy = DDPStrategy(find_unused_parameters=False)
    if not validates:
        settings |= {"limit_val_batches": 0}
    settings |= {
        "strategy": strategy,
        "logger": _loggers(cfg, run),
        "callbacks": _callbacks(cfg, run),
        "enable_checkpointing": cfg.checkpoint.enabled,
        # The data module shards and seeds by itself.
        "use_distributed_sampler": False,
    }
    return Trainer(**settings)


def _callbacks(cfg: DictConfig, run: Run) -> list[Callback]:
    own = issubclass(METHODS[cfg.method], JointEmbedding)
    # solo-learn's methods add the classifier's loss, which is NaN without labels
    unlabelled = ("loss",) if cfg.data.no_labels and not own else ()
    callbacks: list[Callback] = [
        RunFolder(run.folder, cfg),
        StopOnNonFinite(cfg.get("log_every_n_steps") or 50, skip=unlabelled),
        LearningRateMonitor(logging_interval="step"),
    ]
    if not cfg.checkpoint.enabled:
        return callbacks
    # Written after the epoch's validation, and before the next epoch's first draw.
    every: dict[str, Any] = {
        "dirpath": run.folder,
        "save_on_train_epoch_end": True,
        "auto_insert_metric_name": False,
        "enable_version_counter": False,
    }
    callbacks.append(ModelCheckpoint(filename="last", **every))
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


def _loggers(cfg: DictConfig, run: Run) -> list[Logger]:
    _keep_old_log(run.folder)
    loggers: list[Logger] = [CSVLogger(run.folder, name="", version="")]
    if cfg.wandb.enabled:
        wandb = WandbLogger(
            name=cfg.name,
            # The same folder is the same run, when it is resumed too.
            id=run.folder.name,
            resume="allow",
            save_dir=run.folder,
            project=cfg.wandb.project,
            entity=cfg.wandb.entity,
            offline=cfg.wandb.offline,
        )
        wandb.log_hyperparams(_plain(cfg))
        loggers.append(wandb)
    return loggers


def _plain(cfg: DictConfig) -> dict[str, Any]:
    return OmegaConf.to_container(cfg)  # type: ignore[return-value]


@rank_zero_only
def _keep_old_log(folder: Path) -> None:
    """Move an interrupted run's log out of the way of Lightning, which would empty it."""
    log, number = folder / "metrics.csv", 1
    if log.is_file():
        while (folder / f"metrics.{number}.csv").exists():
            number += 1
        log.rename(folder / f"metrics.{number}.csv")


def _summary(run: Run) -> dict[str, float]:
    summary = json.loads((run.folder / "summary.json").read_text())
    return {name: value for name, value in summary.items() if isinstance(value, int | float)}


@rank_zero_only
def _report(result: Result) -> None:
    metrics = result.metrics
    if "val_knn_acc1" in metrics:
        _say(f"Online kNN accuracy (backbone, top 1): {metrics['val_knn_acc1']:.1f} %")
    if "val_acc1" in metrics:
        _say(f"Online linear probe (backbone, top 1): {metrics['val_acc1']:.1f} %")
    for stage in ("val", "train_epoch", "train"):
        name, _, suffix = stage.partition("_")
        key = f"{name}_l0_sparsity_metric" + (f"_{suffix}" if suffix else "")
        if key in metrics:
            target = metrics.get(key.replace("l0_sparsity_metric", "target_l0"))
            of_target = "" if target is None else f" (the target has {100 * target:.1f} %)"
            _say(f"Active outputs: {100 * metrics[key]:.1f} %{of_target}")
            break
    _say(f"Checkpoint: {result.checkpoint or 'none, checkpoint.enabled is false'}")


@rank_zero_only
def _say(line: str) -> None:
    print(line, flush=True)
