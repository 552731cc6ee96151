# SPDX-License-Identifier: MIT
"""When a run's checkpoints are written, and how it stops between two steps."""

__all__ = ["KeptCheckpoint", "LastCheckpoint", "LimitReached", "NewSchedule"]

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import lightning.pytorch as pl
import torch
from lightning.fabric.utilities import move_data_to_device
from lightning.pytorch.callbacks import Callback, Checkpoint, ModelCheckpoint, Timer
from torch.optim import Optimizer
from typing_extensions import override

from solo_plugins.distributed import gather_objects, max_over_processes, rank
from solo_plugins.runs.folder import RunFolder
from solo_plugins.runs.log import MetricsLog
from solo_plugins.training.epoch_metrics import (
    add_logged,
    epoch_metrics,
    forget_step_values,
    restore_metric_states,
)
from solo_plugins.training.progress import tell
from solo_plugins.training.signals import Interrupted, Signals

# Of several processes all must stop at the same step: so often, in seconds, they agree on it.
_AGREE_EVERY = 1.0


class LimitReached(Exception):
    """The time that a run was given is over."""


class _Place(NamedTuple):
    """Where in an epoch a checkpoint was written."""

    position: int  # batches of the epoch that were trained on; 0 between epochs
    validating: bool = False
    metrics: Sequence[Any] = ()  # of each process, within an epoch

    def batches_to_skip(self, trainer: pl.Trainer) -> int:
        """Count the batches of the epoch that is gone on with; at its end, none of the next."""
        return self.position if self.position < trainer.num_training_batches else 0


class LastCheckpoint(Checkpoint):
    """Writes the last checkpoint: after every epoch and, if asked, after so many steps or minutes.

    Lightning's ModelCheckpoint writes while a step or an epoch is being ended: before momentum
    networks have moved, and before the epoch's means are logged. This one writes between them, so
    that a run goes on exactly and its log is complete. A signal, or the end of ``max_time``, is a
    reason to write too, and then to stop, during validation as well: it is done anew when the run
    goes on. Within an epoch, what its metrics have taken in is saved beside the weights. With data
    that cannot go on within an epoch, checkpoints are written after epochs only.

    Args:
        folder: the run's folder.
        signals: where signals arrive.
        log: the run's log, which is put on the disk before each checkpoint.
        enabled: whether checkpoints are written at all; signals are answered in any case.
        every_n_steps: steps between two checkpoints, or None.
        every_n_minutes: minutes between two checkpoints, or None.
        max_time: the time that this part of the run may take, in Lightning's forms, or None.
        say: a function that prints a line.
    """

    def __init__(
        self,
        folder: RunFolder,
        signals: Signals,
        log: MetricsLog,
        *,
        enabled: bool = True,
        every_n_steps: int | None = None,
        every_n_minutes: float | None = None,
        max_time: Any = None,
        say: Callable[[str], None] = print,
    ) -> None:
        self.say = say
        self.folder, self.signals, self.enabled = folder, signals, enabled
        self.metrics_log = log  # `log` is set by Lightning
        self.every_n_steps, self.every_n_minutes = every_n_steps, every_n_minutes
        self.timer = Timer(max_time)
        self._place: _Place | None = None  # what is being written
        self._resumed: _Place | None = None  # where the run goes on, until its first step
        self._logged_before: dict[str, Any] | None = None  # until the resumed epoch has logged
        self._logged_later: dict[str, Any] | None = None  # that, until the epoch's next step
        self._before_validation: dict[str, Any] = {}
        self._saved_step = 0
        self._saved_at = self._agreed_at = time.monotonic()
        self._steps = self._agreed_step = self._next_agreement = 0

    @classmethod
    def was_validating(cls, checkpoint: Mapping[str, Any]) -> bool:
        """Tell whether a checkpoint was written during validation.

        Args:
            checkpoint: what Lightning saved.
        """
        place = checkpoint.get("callbacks", {}).get(cls.__qualname__, {})
        return bool(place.get("validating", False))

    @override
    def state_dict(self) -> dict[str, Any]:
        return {} if self._place is None else self._place._asdict()

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        place = _Place(**state_dict)
        self._resumed = place if place.position else None

    @override
    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Lightning does this itself only if no schedule has asked for the data before.
        skipped = 0 if self._resumed is None else self._resumed.batches_to_skip(trainer)
        self._tell_loader(trainer, "load_state_dict", {"position": skipped})
        self._saved_step = trainer.global_step
        self._saved_at = self._agreed_at = time.monotonic()
        self.timer.on_train_start(trainer, pl_module)
        self.signals.install()  # over those of Lightning, which gives a program status 0
        self.signals.between_steps = True

    @override
    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._boundary(trainer, pl_module, position=0, due=True)

    @override
    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self._add_logged(trainer)
        forget_step_values(trainer)
        self._take_up(trainer, pl_module)
        if self._logged_later is not None:  # added after this step, the first one to log
            self._logged_before, self._logged_later = self._logged_later, None
        if batch_idx and batch_idx % trainer.accumulate_grad_batches == 0:
            every = self.every_n_steps
            due = bool(every) and trainer.global_step - self._saved_step >= (every or 0)
            self._boundary(trainer, pl_module, position=batch_idx, due=due)

    @override
    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.sanity_checking:
            self._take_up(trainer, pl_module)
            # Validation adds to metrics that training shares, such as the online kNN.
            if self._logged_before is not None and not _is_last_of_epoch(trainer):
                self._before_validation = self._logged_before
                self._logged_later, self._logged_before = self._logged_before, None
                return
            self._add_logged(trainer)
            self._before_validation = epoch_metrics(trainer, pl_module)

    @override
    def on_validation_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        if not trainer.sanity_checking:
            position = trainer.fit_loop.epoch_loop.batch_progress.current.completed
            self._boundary(trainer, pl_module, position=position, due=False)

    @override
    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._before_validation = {}

    @override
    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._add_logged(trainer)

    @override
    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.signals.between_steps = False
        if self._has_progressed(trainer):
            self._save(trainer, pl_module, 0)

    @override
    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        self.signals.between_steps = False

    @override
    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if self._place is None:
            return
        # Lightning has counted the batch or the epoch that is about to begin.
        loop = checkpoint["loops"]["fit_loop"]
        for progress in (loop["epoch_progress"], loop["epoch_loop.batch_progress"]):
            for part in (progress["total"], progress["current"]):
                if part["started"] == part["completed"]:
                    part["ready"] = part["completed"]
        if self._place.validating:  # Lightning goes back to a validation in its first batch
            progress = loop["epoch_loop.val_loop.batch_progress"]
            for part in (progress["total"], progress["current"]):
                part |= {"ready": 1, "started": 1, "processed": 0, "completed": 0}
            progress["is_last_batch"] = False

    def _take_up(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Put back what the present epoch's metrics have taken in before the run was stopped."""
        place, self._resumed = self._resumed, None
        if place is None:
            return
        metrics = place.metrics[rank()] if len(place.metrics) == trainer.world_size else None
        if metrics is not None:
            restore_metric_states(pl_module, metrics)
            self._logged_before = metrics
        step = "validation" if place.validating else f"step {place.position + 1}"
        line = f"Resuming within epoch {trainer.current_epoch + 1}, at its {step}" + (
            "."
            if metrics is not None
            else ": its means of training metrics and its online kNN are of the steps since, "
            "as the checkpoint does not hold those of these processes."
        )
        tell(trainer, self.say, line)

    def _add_logged(self, trainer: pl.Trainer) -> None:
        logged, self._logged_before = self._logged_before, None
        if logged is not None:
            add_logged(trainer, logged)

    def _boundary(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *, position: int, due: bool
    ) -> None:
        """Write a checkpoint if one is due, and stop if that was asked for."""
        signal, time_over, minutes_over = self._agree(trainer)
        within = position == 0 or hasattr(trainer.train_dataloader, "load_state_dict")
        due = due or minutes_over or time_over or bool(signal)
        if due and within and self._has_progressed(trainer):
            self._save(trainer, pl_module, position)
        if signal:
            raise Interrupted(signal)
        if time_over:
            raise LimitReached("max_time")

    def _agree(self, trainer: pl.Trainer) -> tuple[int, bool, bool]:
        """Tell what all processes know: a signal, and whether time or minutes are over."""
        left = self.timer.time_remaining()
        minutes = self.every_n_minutes
        now = time.monotonic()
        self._steps += 1  # of validation too
        mine = [
            self.signals.received,
            left is not None and left <= 0,
            minutes is not None and now - self._saved_at >= 60 * minutes,
        ]
        if trainer.world_size > 1:
            if self._steps < self._next_agreement:
                return 0, False, False
            steps = self._steps - self._agreed_step
            pace = round(_AGREE_EVERY * steps / max(now - self._agreed_at, 1e-3))
            # by and by: the first steps say little about the later ones
            pace = max(1, min(pace, 2 * steps))
            values = torch.tensor([*map(int, mine), pace], device=trainer.strategy.root_device)
            *mine, pace = max_over_processes(values).tolist()
            self._agreed_step, self._agreed_at = self._steps, now
            self._next_agreement = self._steps + pace
        return int(mine[0]), bool(mine[1]), bool(mine[2])

    @staticmethod
    def _tell_loader(trainer: pl.Trainer, method: str, value: Any) -> None:
        tell = getattr(trainer.train_dataloader, method, None)
        if tell is not None:
            tell(value)

    def _has_progressed(self, trainer: pl.Trainer) -> bool:
        return trainer.global_step > self._saved_step

    def _save(self, trainer: pl.Trainer, pl_module: pl.LightningModule, position: int) -> None:
        self.metrics_log.flush()
        if not self.enabled:
            return
        self._place = _Place(position)
        if position:
            mine = self._before_validation or epoch_metrics(trainer, pl_module)
            metrics = gather_objects(move_data_to_device(mine, torch.device("cpu")))
            self._place = _Place(position, bool(trainer.validating), metrics)
        self._tell_loader(trainer, "set_position", self._place.batches_to_skip(trainer))
        try:
            trainer.save_checkpoint(self.folder.last_checkpoint, weights_only=False)
        finally:
            self._place = None
            self._tell_loader(trainer, "set_position", 0)
        self._saved_step, self._saved_at = trainer.global_step, time.monotonic()


def _is_last_of_epoch(trainer: pl.Trainer) -> bool:
    """Whether no step of the epoch is to come after the present validation."""
    done = trainer.fit_loop.epoch_loop.batch_progress.current.completed
    return done >= trainer.num_training_batches


class KeptCheckpoint(ModelCheckpoint):
    """Lightning's kept checkpoints, which a run's folder takes along when it is moved.

    Lightning forgets the best score then, and the next checkpoint takes the place of the best one.
    """

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        best = Path(state_dict["best_model_path"]).name
        if best and self.dirpath and (Path(self.dirpath) / best).is_file():
            state_dict = {**state_dict, "dirpath": self.dirpath}
            for name in ("best_model_path", "kth_best_model_path", "last_model_path"):
                state_dict[name] = self._here(state_dict.get(name))
            kept = state_dict.get("best_k_models", {})
            state_dict["best_k_models"] = {self._here(path): kept[path] for path in kept}
        super().load_state_dict(state_dict)

    def _here(self, path: str | None) -> str:
        return str(Path(str(self.dirpath)) / Path(path).name) if path else ""


class NewSchedule(Callback):
    """Lets a run that begins from another's checkpoint follow its own schedule and optimizer.

    A schedule's length and rates lie in the checkpoint, and so do the optimizer's settings. With
    more epochs the rate would climb again after the old end, and a changed weight decay would be
    ignored. The run goes on by its own settings, from the checkpoint's place and momenta.

    Args:
        say: a function of a line.
    """

    _PLACE = ("last_epoch", "_step_count")

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say

    @override
    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        for schedule in checkpoint.get("lr_schedulers", []):
            for name in set(schedule) - set(self._PLACE):
                del schedule[name]

    @override
    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        (loaded,) = trainer.optimizers
        before = loaded.param_groups[0]["lr"]
        for group, own in zip(
            loaded.param_groups, _fresh_optimizer(pl_module).param_groups, strict=True
        ):
            group.update({name: value for name, value in own.items() if name != "params"})
        for config in trainer.lr_scheduler_configs:
            schedule: Any = config.scheduler
            groups = schedule.optimizer.param_groups
            closed = getattr(schedule, "_get_closed_form_lr", schedule.get_lr)
            for group, rate in zip(groups, closed(), strict=True):
                group["lr"] = group["initial_lr"] if group.get("static_lr") else rate
            schedule._last_lr = [group["lr"] for group in groups]
            self.say(
                f"The learning rate goes on along a schedule of {trainer.max_epochs} epochs, at "
                f"{groups[0]['lr']:.3g}; the checkpoint ended at {before:.3g}."
            )


def _fresh_optimizer(model: pl.LightningModule) -> Optimizer:
    """Build another optimizer of a model, with its settings as they were asked for."""
    found: Any = model.configure_optimizers()
    found = found["optimizer"] if isinstance(found, dict) else found
    found = found[0] if isinstance(found, tuple | list) else found
    return found[0] if isinstance(found, tuple | list) else found
