# SPDX-License-Identifier: MIT
"""Pretraining from a configuration: what ``main_pretrain.py`` calls."""

__all__ = ["pretrain"]

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from lightning.pytorch import LightningModule, seed_everything
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig

from solo_plugins.args.adopted import adopted
from solo_plugins.args.automatic import automatic
from solo_plugins.args.optimizer import schedule_notes
from solo_plugins.args.pretrain import parse_cfg
from solo_plugins.data import PretrainDataModule
from solo_plugins.errors import ConfigurationError
from solo_plugins.framework import LOSSES, METHODS
from solo_plugins.methods.joint_embedding import JointEmbedding
from solo_plugins.registry import register
from solo_plugins.runs.description import Description, loss_name
from solo_plugins.runs.find import ResumePoint, find_run
from solo_plugins.runs.writable import check_writable
from solo_plugins.training.callbacks import Resumable
from solo_plugins.training.launch import check_processes
from solo_plugins.training.memory import enough_memory
from solo_plugins.training.trainer import compiled, fit, in_memory_format, say

# A share of active outputs that is this far from the target was probably not wanted.
_FAR = 0.03


class PretrainResult(NamedTuple):
    """The result of a pretraining run.

    Args:
        folder: the run's folder.
        checkpoint: its last checkpoint, or None if there is none.
        metrics: the last value of every metric.
    """

    folder: Path
    checkpoint: Path | None
    metrics: dict[str, float]


def pretrain(cfg: DictConfig, *, callbacks: Sequence[Callback] = ()) -> PretrainResult:
    """Pretrain any registered method.

    Everything that can be wrong with a configuration is found before a file is written. A finished
    run of the same configuration is reported, not repeated, if ``auto_resume.enabled``.

    Args:
        cfg: the configuration as composed by hydra.
        callbacks: more of Lightning's callbacks, called before the run's own.

    Returns:
        Where the run lies and its last metrics.

    Raises:
        ConfigurationError: if the configuration cannot work.
        NonFiniteLossError: if the loss diverges.
    """
    register()
    asked = cfg.copy()
    # which leaves nothing of that to do to the parser, and says what was done
    cfg, changed = adopted(cfg)
    cfg, chosen = automatic(cfg)
    cfg, hardware = parse_cfg(cfg)
    check_processes(hardware)
    for note in [*changed, *chosen, *schedule_notes(asked, cfg)]:
        say(note)
    run = find_run(cfg)
    for note in run.notes:
        say(note)
    if run.finished:
        return _finished(run, cfg)
    check_writable(run.folder.path, "checkpoint.dir")
    say(str(hardware))
    seed_everything(cfg.seed, verbose=False)
    # Methods take lists and numbers out of the configuration they are given, and fill it in.
    with enough_memory(cfg):
        model: LightningModule = METHODS[cfg.method](cfg.copy())
    loss = LOSSES.get(cfg.method, loss_name(cfg.method))
    description, own = Description(cfg.method, loss), False
    if isinstance(model, JointEmbedding):
        description, own = model.description, True
        if (line := model.target_summary()) is not None:
            say(line)
    model = in_memory_format(model, cfg)
    if cfg.performance.compile:
        model = compiled(model, hardware)
    data = PretrainDataModule(cfg)
    if cfg.auto_umap.enabled and not data.validates:
        raise ConfigurationError(
            "Expected `auto_umap.enabled` to be true only with labelled validation images, which "
            f"it draws, but got true and `data.val_path` {cfg.data.val_path}."
        )
    data.check(hardware.processes)
    for note in data.notes:
        say(note)
    if cfg.debug_augmentations:  # as solo-learn's main does
        say(f"Transforms:\n{data.train_transform}")
    with enough_memory(cfg):
        folder, metrics = fit(
            model,
            data,
            cfg,
            run,
            asked=asked,
            hardware=hardware,
            description=description,
            callbacks=[*callbacks, Resumable()],
            # solo-learn's methods add the classifier's loss, which is NaN without labels
            not_checked=("loss",) if cfg.data.no_labels and not own else (),
        )
    result = PretrainResult(folder.path, folder.find_checkpoint(), metrics)
    _report(result, cfg)
    return result


def _finished(run: ResumePoint, cfg: DictConfig) -> PretrainResult:
    """Report a finished run again."""
    say(f"{run.folder} is a finished run of this configuration: nothing to do.")
    summary = run.folder.read_summary()
    metrics = {name: value for name, value in summary.items() if isinstance(value, int | float)}
    result = PretrainResult(run.folder.path, run.checkpoint, metrics)
    _report(result, cfg)
    if run.checkpoint is None and cfg.checkpoint.enabled:
        say("It has been removed: without its folder the same command trains the run again.")
    return result


@rank_zero_only
def _report(result: PretrainResult, cfg: DictConfig) -> None:
    held = cfg.method != "rectified_lpjepa" or bool(cfg.method_kwargs.get("threshold_rate"))
    metrics = result.metrics
    if "val_knn_acc1" in metrics:
        say(f"Online kNN accuracy (backbone, top 1): {metrics['val_knn_acc1']:.1f} %")
    if "val_acc1" in metrics:
        say(f"Online linear probe (backbone, top 1): {metrics['val_acc1']:.1f} %")
    for stage in ("val", "train_step", "train"):
        name, _, suffix = stage.partition("_")
        key = f"{name}_l0_sparsity_metric" + (f"_{suffix}" if suffix else "")
        if key in metrics:
            target = metrics.get(key.replace("l0_sparsity_metric", "target_l0"))
            of_target = "" if target is None else f" (the target has {100 * target:.1f} %)"
            hint = ""
            if target is not None and abs(metrics[key] - target) > _FAR and not held:
                hint = "; `method_kwargs.threshold_rate` holds it, docs/sparsity.md"
            say(f"Active outputs: {100 * metrics[key]:.1f} %{of_target}{hint}")
            break
    say(f"Checkpoint: {result.checkpoint or 'none'}")
