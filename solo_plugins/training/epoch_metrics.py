# SPDX-License-Identifier: MIT
"""What an epoch's metrics have taken in so far, as plain values that can be put back."""

__all__ = ["add_logged", "epoch_metrics", "forget_step_values", "restore_metric_states"]

from typing import Any

import lightning.pytorch as pl
from lightning.fabric.utilities import move_data_to_device
from torch import Tensor
from torchmetrics import Metric


def epoch_metrics(trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
    """Take down the training epoch's means, and the states of the model's metrics.

    Later steps do not change what is returned.

    Args:
        trainer: the trainer, in an epoch.
        pl_module: the model.

    Returns:
        Tensors and plain values: ``logged``, the arguments and sums of everything that was logged
        for the epoch, and ``metrics``, the states of every ``torchmetrics.Metric`` by name.
    """
    logged = []
    # Lightning keeps these to itself, and out of checkpoints.
    for result in trainer.fit_loop.epoch_loop._results.values():
        meta = result.meta
        if result.has_reset or not result.is_tensor or not meta.on_epoch:
            continue  # of another epoch; a Metric, which is below; of a step
        arguments = {
            name: getattr(meta, name)
            for name in ("fx", "name", "prog_bar", "logger", "on_step", "on_epoch")
        }
        arguments |= {
            "reduce_fx": meta.reduce_fx.__name__,
            "add_dataloader_idx": meta.add_dataloader_idx,
            "sync_dist": meta.sync.should,
            "rank_zero_only": meta.sync.rank_zero_only,
        }
        logged.append({"arguments": arguments, "state": _copied(result.metric_state)})
    metrics = {
        name: {"count": metric.update_count, "state": _copied(metric.metric_state)}
        for name, metric in _metrics(pl_module).items()
        if metric.update_count
    }
    return {"logged": logged, "metrics": metrics}


def restore_metric_states(pl_module: pl.LightningModule, saved: dict[str, Any]) -> None:
    """Put back the states of the model's metrics, before the epoch's next step.

    Args:
        pl_module: the model.
        saved: what :func:`epoch_metrics` took down, on any device.
    """
    metrics = _metrics(pl_module)
    for name, entry in saved["metrics"].items():
        if name not in metrics:
            continue
        metric = metrics[name]
        for state, value in entry["state"].items():
            setattr(metric, state, move_data_to_device(value, pl_module.device))
        metric._update_count, metric._computed = entry["count"], None


def add_logged(trainer: pl.Trainer, saved: dict[str, Any]) -> None:
    """Add what was logged for the epoch to what has been logged since.

    Lightning empties what it has gathered when an epoch's first step logs: call this after it. Two
    numbers have one sum in either order, so that an epoch's mean is the same to the last bit.

    Args:
        trainer: the trainer.
        saved: what :func:`epoch_metrics` took down, on any device.
    """
    results = trainer.fit_loop.epoch_loop._results
    for entry in saved["logged"]:
        arguments, state = entry["arguments"], entry["state"]
        key = f"{arguments['fx']}.{arguments['name']}"
        of_the_step = results[key]._forward_cache if key in results else None
        # As the model's own `log`, which is how Lightning gets to know a value.
        results.log(
            **arguments,
            value=state["value"].to(trainer.strategy.root_device),
            batch_size=1,
            sync_dist_fn=trainer.strategy.reduce,
        )
        results[key]._forward_cache = of_the_step
        if "cumulated_batch_size" in state:
            results[key].cumulated_batch_size += int(state["cumulated_batch_size"]) - 1


def forget_step_values(trainer: pl.Trainer) -> None:
    """Forget what earlier steps logged, so that a row of the log is of its own step alone.

    Lightning repeats a value until its name is logged again. Means of the epoch stay.

    Args:
        trainer: the trainer, before a step.
    """
    for result in trainer.fit_loop.epoch_loop._results.values():
        result._forward_cache = None


def _metrics(pl_module: pl.LightningModule) -> dict[str, Metric]:
    return {
        name: module for name, module in pl_module.named_modules() if isinstance(module, Metric)
    }


def _copied(states: dict[str, Any]) -> dict[str, Any]:
    # Tensors may be added to in place; the lists only grow.
    return {
        name: value.detach().clone() if isinstance(value, Tensor) else list(value)
        for name, value in states.items()
    }
