# SPDX-License-Identifier: MIT
"""What a run shows: a line for every epoch, and the loss and active outputs in a bar."""

import math
import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from omegaconf import DictConfig

from solo_plugins.training.pretrain import pretrain
from solo_plugins.training.progress import Bar, EpochLine, Shown, progress_callbacks
from solo_plugins.training.sweep import one_line_errors

pytestmark = pytest.mark.usefixtures("methods", "lightning_quiet")

SHOWN = Shown("train_loss", {"kNN": "val_knn_acc1", "probe": "val_acc1"})
METRICS = {
    "train_loss": 7.0,
    "train_loss_epoch": 7.41234,
    "train_l0_sparsity_metric_step": 0.25,
    "train_l0_sparsity_metric_epoch": 0.7,  # the mean of an epoch in which it fell
    "train_target_l0_step": 0.1216,
    "val_l0_sparsity_metric": 0.466,
    "val_target_l0": 0.5,
    "val_knn_acc1": 87.54,
    "val_acc1": 89.16,
}


def _lines(
    epochs: int, metrics: dict, *, validates: bool = True, most: int | None = 14
) -> list[str]:
    """Go through epochs of 11 s each."""
    said: list[str] = []
    times = iter(range(0, 22 * epochs, 11))
    line = EpochLine(SHOWN, said.append, clock=lambda: next(times))
    values = {name: torch.tensor(value) for name, value in metrics.items()}
    for epoch in range(epochs):
        trainer = SimpleNamespace(
            callback_metrics=values, current_epoch=epoch, max_epochs=most, is_global_zero=True,
            progress_bar_callback=None, sanity_checking=False, num_training_batches=4,
        )  # fmt: skip
        line.on_train_epoch_start(trainer, None)
        if validates:
            line.on_validation_end(trainer, None)
        line.on_train_epoch_end(trainer, None)
    return said


def test_a_line_tells_what_an_epoch_came_to() -> None:
    assert _lines(3, METRICS)[2] == (
        "epoch 3/14  loss 7.412  active 46.6 % (50)  kNN 87.5  probe 89.2  11 s  2 min left"
    )


def test_values_of_an_earlier_validation_are_not_this_epochs() -> None:
    (line,) = _lines(1, METRICS, validates=False, most=1)
    assert line == "epoch 1/1  loss 7.412  active 25.0 % (12.2)  11 s"


@pytest.mark.parametrize(
    ("batches", "of", "left"), [(2, 8, "  3 min left"), (0, 8, None), (2, math.inf, None)]
)
def test_a_run_that_goes_on_within_an_epoch_guesses_what_is_left(
    batches: int, of: float, left: str | None
) -> None:
    said: list[str] = []
    times = iter([0, 11])
    line = EpochLine(SHOWN, said.append, clock=lambda: next(times))
    trainer: Any = SimpleNamespace(
        callback_metrics={}, current_epoch=10, max_epochs=15, is_global_zero=True,
        progress_bar_callback=None, sanity_checking=False, num_training_batches=of,
    )  # fmt: skip
    line.on_train_start(trainer, None)
    for _ in range(batches):
        line.on_train_batch_end(trainer, None, None, None, 0)
    line.on_train_epoch_end(trainer, None)
    # a quarter of an epoch took 11 s, and four epochs are left
    assert said == [f"epoch 11/15  11 s{left or ''}"]


def test_an_unknown_end_and_missing_metrics_are_left_out() -> None:
    assert _lines(1, {}, most=-1) == ["epoch 1  11 s"]


@pytest.mark.parametrize(("enabled", "number"), [(None, 0), (False, 0), (True, 1)])
def test_a_bar_is_for_a_terminal_or_asked_for(enabled: bool | None, number: int) -> None:
    found = progress_callbacks(SHOWN, print, enabled=enabled)
    assert sum(isinstance(callback, Bar) for callback in found) == number
    assert len(progress_callbacks(SHOWN, print, enabled=True, others=[Bar(SHOWN)])) == 1


def test_a_run_with_a_bar_shows_loss_and_active_outputs(
    make_cfg: Callable[..., DictConfig], capsys: pytest.CaptureFixture
) -> None:
    pretrain(make_cfg(max_epochs=2, limit_train_batches=2, enable_progress_bar=True))
    printed = capsys.readouterr().out
    number = r"\d[\d.e+-]*"
    line = rf"epoch \d/2  loss {number}  active {number} % \(50\)  probe {number}  \d+ s"
    assert len(re.findall(line, printed)) == 2
    assert "Epoch 2/2:" in printed
    assert re.search(rf"loss={number}, active={number} % \(50\)", printed)


def test_what_is_said_of_a_stop_stands_on_a_line_of_its_own(
    make_cfg: Callable[..., DictConfig], killed_after: Callable, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(RuntimeError, match="killed"):
        pretrain(make_cfg(enable_progress_bar=True), callbacks=[killed_after(2)])
    shown = capsys.readouterr()
    assert "Epoch 1/" in shown.out + shown.err
    assert not shown.out.rpartition("Epoch 1/")[2].rstrip(" ").endswith("]")


def test_a_ctrl_c_outside_training_says_how_to_go_on(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit, match="130"), one_line_errors():
        raise KeyboardInterrupt
    assert "The same command starts again." in capsys.readouterr().err
