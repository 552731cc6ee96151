# SPDX-License-Identifier: MIT
"""What a run shows while it trains: a bar in a terminal, and a line for every epoch."""

__all__ = ["Bar", "EpochLine", "Shown", "duration", "progress_callbacks", "tell"]

import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback, ProgressBar, TQDMProgressBar
from typing_extensions import override

# Seconds between two looks at the metrics by the bar: on a GPU each is a wait.
_LOOK = 1.0
_ACTIVE, _TARGET = "l0_sparsity_metric", "target_l0"


class Shown(NamedTuple):
    """What a line tells of an epoch.

    Args:
        loss: what the loss is called in the logs.
        accuracies: what accuracies in percent are called in the logs, by what a line calls them.
    """

    loss: str
    accuracies: Mapping[str, str]


def progress_callbacks(
    shown: Shown,
    say: Callable[[str], None],
    *,
    enabled: bool | None,
    others: Sequence[Callback] = (),
) -> list[Callback]:
    """Choose what a run shows.

    Args:
        shown: what a line tells.
        say: a function that prints a line, once however many processes there are.
        enabled: Lightning's ``enable_progress_bar``; None is true in a terminal only, as a bar
            fills a log file.
        others: the run's other callbacks, of which one may be a bar.

    Returns:
        The line for every epoch, and the bar if there is to be one.
    """
    bar = sys.stdout.isatty() if enabled is None else enabled
    if any(isinstance(callback, ProgressBar) for callback in others):
        bar = False
    return [EpochLine(shown, say), *([Bar(shown)] if bar else [])]


class EpochLine(Callback):
    """Says what an epoch came to: loss, active outputs, accuracies, its time and what is left.

    Args:
        shown: what the line tells.
        say: a function that prints a line.
        clock: a function that tells the time in seconds.
    """

    def __init__(
        self,
        shown: Shown,
        say: Callable[[str], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.shown, self.say, self.clock = shown, say, clock
        self._started: float | None = None
        self._seconds: list[float] = []  # of whole epochs
        self._batches = 0  # of this epoch, as far as they were trained on here
        self._whole = self._validated = False

    @override
    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._started = self.clock()  # a run that goes on within an epoch starts none

    @override
    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._started, self._whole, self._validated, self._batches = self.clock(), True, False, 0

    @override
    def on_train_batch_end(self, *_: Any) -> None:
        self._batches += 1

    @override
    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._validated = not trainer.sanity_checking

    @override
    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._started is None:
            return
        # asked for on every process: metrics of all are put together
        metrics = trainer.callback_metrics
        if not trainer.is_global_zero:
            return
        taken = self.clock() - self._started
        if self._whole:
            self._seconds.append(taken)
        parts = [
            f"epoch {trainer.current_epoch + 1}{_of(trainer.max_epochs)}",
            *_parts(metrics, self.shown, "_epoch", validated=self._validated),
            duration(taken),
        ]
        remaining = (trainer.max_epochs or 0) - trainer.current_epoch - 1
        seconds = self._seconds
        if not seconds and self._batches and math.isfinite(trainer.num_training_batches):
            # before there was a whole one, an epoch's time is guessed from the part of one
            seconds = [taken * trainer.num_training_batches / self._batches]
        if remaining > 0 and seconds:
            mean = sum(seconds) / len(seconds)
            parts.append(f"{duration(remaining * mean)} left")
        tell(trainer, self.say, "  ".join(parts))


class Bar(TQDMProgressBar):
    """Lightning's bar with the loss and the active outputs of the last step, in percent.

    Args:
        shown: of which the loss is read.
    """

    def __init__(self, shown: Shown) -> None:
        super().__init__()
        self.shown = shown
        self._items: dict[str, int | str | float | dict[str, float]] = {}
        self._looked = -_LOOK

    @override
    def on_train_start(self, trainer: pl.Trainer, *_: Any) -> None:
        super().on_train_start(trainer)
        self.on_train_epoch_start(trainer)  # a run that goes on within an epoch starts none

    @override
    def on_train_epoch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        super().on_train_epoch_start(trainer)
        epoch = f"Epoch {trainer.current_epoch + 1}{_of(trainer.max_epochs)}"
        self.train_progress_bar.set_description(epoch)

    @override
    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Leave the bar's line: what is said of a stop stands on one of its own."""
        for bar in (self._val_progress_bar, self._train_progress_bar):
            if bar is not None:
                bar.close()

    @override
    def get_metrics(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        now = time.monotonic()
        if now - self._looked >= _LOOK:
            self._looked = now
            parts = _parts(trainer.callback_metrics, self.shown, "", validated=False)
            self._items = {}
            for name, _, value in (part.partition(" ") for part in parts):
                self._items[name] = value
        return self._items


def tell(trainer: pl.Trainer, say: Callable[[str], None], line: str) -> None:
    """Print a line, above the bar if one is shown.

    Args:
        trainer: whose bar it is.
        say: a function that prints a line.
        line: what to print.
    """
    bar = trainer.progress_bar_callback
    if bar is None or (isinstance(bar, Bar) and bar._train_progress_bar is None):
        say(line)
    else:
        bar.print(line)


def _parts(metrics: Mapping[str, Any], shown: Shown, suffix: str, *, validated: bool) -> list[str]:
    """Write what there is of the loss, the active outputs and the accuracies."""
    parts = []
    value = metrics.get(f"{shown.loss}{suffix}", metrics.get(shown.loss))
    if value is not None:
        parts.append(f"loss {float(value):.4g}")
    whole = validated and f"val_{_ACTIVE}" in metrics
    stage, suffix = ("val", "") if whole else ("train", suffix and "_step")  # as it is by now
    if (active := metrics.get(f"{stage}_{_ACTIVE}{suffix}")) is not None:
        target = metrics.get(f"{stage}_{_TARGET}{suffix}")
        wanted = "" if target is None else f" ({100 * float(target):.3g})"
        parts.append(f"active {100 * float(active):.1f} %{wanted}")
    if validated:
        for name, key in shown.accuracies.items():
            if key in metrics:
                parts.append(f"{name} {float(metrics[key]):.1f}")
    return parts


def _of(most: int | None) -> str:
    return f"/{most}" if most is not None and most > 0 else ""


def duration(seconds: float) -> str:
    """Write a time as a person would.

    Args:
        seconds: zero or more.

    Example:
        >>> duration(11.4), duration(150), duration(3 * 3600)
        ('11 s', '2 min', '3.0 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    if minutes < 100:
        return f"{minutes:.0f} min"
    return f"{minutes / 60:.1f} h"
