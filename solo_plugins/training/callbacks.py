# SPDX-License-Identifier: MIT
"""Lightning callbacks of a run: its steps' random numbers, its checks and its summary."""

__all__ = ["RecordRun", "Resumable", "SeedSteps", "StopOnNonFinite", "last_metrics"]

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from torchmetrics import Metric
from typing_extensions import override

from solo_plugins.data.loader import seed_all
from solo_plugins.errors import ConfigurationError, NonFiniteLossError
from solo_plugins.runs.description import Description
from solo_plugins.runs.folder import RunFolder
from solo_plugins.runs.log import last_values
from solo_plugins.runs.provenance import commit, versions


class StopOnNonFinite(Callback):
    """Stops a run whose loss became NaN or infinite, before it overwrites a good checkpoint.

    The first bad step of every term is kept on the device. It is read every `interval` steps and at
    the end of each epoch, so that the program does not wait for a GPU in every step; on the CPU it
    is read after every step.

    Args:
        folder: the run's folder, for the message.
        interval: steps between two checks on an accelerator.
        skip: terms that are not checked.
        first_epoch: the first epoch, from 0, whose steps are checked.
    """

    def __init__(
        self,
        folder: RunFolder,
        interval: int = 50,
        *,
        skip: tuple[str, ...] = (),
        first_epoch: int = 0,
    ) -> None:
        self.folder = folder
        self.interval = interval
        self.skip = skip
        self.first_epoch = first_epoch
        self._first_bad: dict[str, Tensor] = {}

    @override
    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *_: Any
    ) -> None:
        if trainer.current_epoch < self.first_epoch:
            return
        terms = outputs if isinstance(outputs, dict) else {"loss": outputs}
        for name, value in terms.items():
            if name in self.skip or not isinstance(value, Tensor) or value.ndim:
                continue
            never = torch.full((), -1, device=value.device)
            first = self._first_bad.get(name, never)
            bad_now = (first < 0) & ~value.detach().isfinite()
            # global_step counts the step that has just been made
            self._first_bad[name] = torch.where(bad_now, trainer.global_step - 1, first)
        if pl_module.device.type == "cpu" or trainer.global_step % self.interval == 0:
            self._look(trainer)

    @override
    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._look(trainer)

    @override
    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self._look(trainer)

    def _look(self, trainer: pl.Trainer) -> None:
        steps = {name: int(first) for name, first in self._first_bad.items() if first >= 0}
        if not steps:
            return
        # The total is bad whenever a term is: the term is named.
        name = min(steps, key=lambda term: (steps[term], term == "loss"))
        kept = self.folder.find_checkpoint()
        raise NonFiniteLossError(
            f"Expected every term of the loss to be finite but `{name}` was not at step "
            f"{steps[name]}. The last good checkpoint is {kept or 'none, no epoch was finished'}. "
            "A lower `optimizer.lr` or `precision: 32-true` may help."
        )


class SeedSteps(Callback):
    """Seeds Python, numpy and torch before each step, from the run's seed, the step and the rank.

    All that is random in a step, such as directions and targets, then depends on these alone, and a
    run that is resumed between any two steps repeats what an uninterrupted one did. What a method
    draws at the start of an epoch, as DeepCluster does, depends on seed, epoch and rank.

    Args:
        seed: the run's seed.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    @override
    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        seed_all(self.seed, trainer.current_epoch, trainer.global_rank)

    @override
    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        seed_all(self.seed, trainer.current_epoch, batch_idx, trainer.global_rank)


class Resumable(Callback):
    """Makes checkpoints that a run can go on from, whatever its method does.

    SwAV registers its queue when training starts: a new model has no place for a saved one, and
    would empty it. Such late buffers are saved apart and put back. DINO keeps the epoch, on which
    its temperature depends, as a number of its loss, main's BYOL its tau as one of a plain object,
    and DeepCluster its assignments as a tensor: numbers and tensors that are neither buffers nor
    parameters are saved if training changed them.
    On solo-learn's main SimSiam's schedule holds a function, and with it a copy of the optimizer:
    functions are left out.
    """

    _BUFFERS, _ATTRIBUTES = "late_buffers", "changed_attributes"

    def __init__(self) -> None:
        self._early: set[str] = set()
        self._initial: dict[str, Any] = {}
        self._saved: dict[str, Tensor] = {}
        self._changed: dict[str, Any] = {}

    @override
    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self._early = {name for name, _ in pl_module.named_buffers()}
        self._initial = _attributes(pl_module)

    @override
    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        weights, buffers = checkpoint["state_dict"], dict(pl_module.named_buffers())
        late = [name for name in buffers if name in weights and name not in self._early]
        checkpoint[self._BUFFERS] = {name: weights.pop(name) for name in late}
        checkpoint[self._ATTRIBUTES] = {
            name: value
            for name, value in _attributes(pl_module).items()
            if name not in self._initial or not _same(value, self._initial[name])
        }
        for schedule in checkpoint.get("lr_schedulers", []):
            for name in [name for name, value in schedule.items() if callable(value)]:
                del schedule[name]

    @override
    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self._saved = dict(checkpoint.get(self._BUFFERS, {}))
        self._changed = dict(checkpoint.get(self._ATTRIBUTES, {}))

    @override
    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._put_back(pl_module)

    @override
    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self._put_back(pl_module)  # within an epoch, which does not start again

    @override
    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.sanity_checking:
            self._put_back(pl_module)

    def _put_back(self, pl_module: pl.LightningModule) -> None:
        for name, value in self._saved.items():
            buffer = pl_module.get_buffer(name)
            if buffer.shape == value.shape:
                buffer.copy_(value)
            else:
                rank_zero_warn(
                    f"The checkpoint's `{name}` of {tuple(value.shape)} does not fit one of "
                    f"{tuple(buffer.shape)}, of another number of processes: it is filled anew."
                )
        holders = _holders(pl_module) if self._changed else {}
        for name, value in self._changed.items():
            owner, _, attribute = name.rpartition(".")
            moved = value.to(pl_module.device) if isinstance(value, Tensor) else value
            setattr(holders[owner], attribute, moved)
        self._saved, self._changed = {}, {}


def _attributes(pl_module: pl.LightningModule) -> dict[str, Any]:
    """Return the public numbers and tensors that are no part of a model's state dict, by name."""
    return {
        name: value
        for owner, holder in _holders(pl_module).items()
        for attribute, value in vars(holder).items()
        if isinstance(value, bool | int | float | Tensor)
        and not attribute.startswith("_")
        and (name := f"{owner}.{attribute}") != f"{owner}.training"
    }


def _holders(pl_module: pl.LightningModule) -> dict[str, Any]:
    """Return a model's modules, and solo-learn's plain objects in them, by name."""
    holders: dict[str, Any] = {}
    for name, module in pl_module.named_modules():
        if isinstance(module, Metric):
            continue  # LastCheckpoint saves its state
        holders[name] = module
        for attribute, value in vars(module).items():
            if type(value).__module__.partition(".")[0] == "solo":  # main's MomentumUpdater
                holders[f"{name}.{attribute}"] = value
    return holders


def _same(value: Any, other: Any) -> bool:
    if isinstance(value, Tensor) and isinstance(other, Tensor):
        if value.shape != other.shape or value.dtype != other.dtype:
            return False
        # what a weight norm computes is on the CPU before training and on the GPU in it
        return value is other or torch.equal(value, other.to(value.device))
    return bool(value == other) if type(value) is type(other) else False


class RecordRun(Callback):
    """Keeps what a run's summary needs in its checkpoints, and writes the summary.

    The summary holds the last value of every metric, the number of epochs and steps, the
    ``seconds`` of all parts of a resumed run up to their checkpoints, the ``commit`` of the code,
    the ``versions`` of what it rests on, and the ``description`` that a report shows. A run that
    was killed after its last checkpoint gets it when it is taken up.

    Args:
        folder: the run's folder.
        checkpoint: what the run goes on from, or None.
        description: what a report shows of a pretraining run.
        clock: a function that tells the time in seconds.
    """

    def __init__(
        self,
        folder: RunFolder,
        checkpoint: Path | None = None,
        description: Description | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder, self.checkpoint, self.description = folder, checkpoint, description
        self.clock = clock
        self._started = clock()
        self._commit = commit()  # now: the code may be edited while the run goes on
        self._metrics: dict[str, float] = {}
        self._trainer: pl.Trainer | None = None

    @property
    @override
    def state_key(self) -> str:
        return "RunFolder"  # what this class was called when the first checkpoints were written

    @override
    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self._trainer = trainer
        checkpoint = trainer.strategy.broadcast(self.checkpoint)
        if checkpoint != self.checkpoint:
            raise ConfigurationError(
                f"Expected all processes to go on from {str(checkpoint)!r} but one of them found "
                f"{str(self.checkpoint)!r}: do they see the same `checkpoint.dir`?"
            )

    @override
    def state_dict(self) -> dict[str, Any]:
        metrics = {} if self._trainer is None else last_metrics(self._trainer)
        own = {"seconds": self._seconds(), "metrics": self._metrics | metrics}
        state = self.folder.read_state()
        return own if state is None else {**own, "run_id": state.run_id}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._started -= state_dict["seconds"]
        # Earlier commits kept no metrics: the log has them.
        self._metrics = state_dict.get("metrics") or last_values(self.folder)

    @classmethod
    def check_own(cls, checkpoint: Path, saved: Mapping[str, Any]) -> None:
        """Refuse to go on with a run from a checkpoint of another one.

        Args:
            checkpoint: the file, in the run's folder.
            saved: what is in it.

        Raises:
            ConfigurationError: if it says that it is another run's.
        """
        state = RunFolder(checkpoint.parent).read_state()
        whose = saved.get("callbacks", {}).get("RunFolder", {}).get("run_id")
        if state is not None and whose not in (None, state.run_id):
            raise ConfigurationError(
                f"Expected {str(checkpoint)!r} to be of run {state.run_id}, as the folder's "
                f"state.json says, but it is of run {whose}. `resume_from_checkpoint` begins a run "
                "from another one's checkpoint, in a folder of its own."
            )

    def metrics(self, trainer: pl.Trainer) -> dict[str, float]:
        """Return the last value of every metric, of earlier parts of the run too.

        Args:
            trainer: the trainer, after training.

        Returns:
            Plain numbers by name.
        """
        return self._metrics | last_metrics(trainer)

    def write_summary(self, trainer: pl.Trainer) -> None:
        """Write the summary.

        Args:
            trainer: the trainer, after training.
        """
        summary: dict[str, Any] = self.metrics(trainer) | {
            "epochs": trainer.current_epoch,
            "steps": trainer.global_step,
            "seconds": round(self._seconds(), 1),
            "commit": self._commit,
            "versions": versions(),
        }
        if self.description is not None:
            summary["description"] = self.description.as_json()
        self.folder.write_summary(summary)

    def _seconds(self) -> float:
        return self.clock() - self._started


def last_metrics(trainer: pl.Trainer) -> dict[str, float]:
    """Return the last value of every metric.

    Args:
        trainer: the trainer, after training.

    Returns:
        Plain numbers by name.
    """
    return {name: float(value) for name, value in trainer.callback_metrics.items()}
