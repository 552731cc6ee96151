# SPDX-License-Identifier: MIT
"""The log of a run: all its parts in one file, each row once, whatever was cut off."""

import csv
from pathlib import Path

import pandas as pd
import pytest

from solo_plugins.runs.files import RunFileError
from solo_plugins.runs.folder import RunFolder
from solo_plugins.runs.log import MetricsLog, last_values


def _rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def _write(folder: Path, steps: range, first_step: int = 0) -> None:
    log = MetricsLog(RunFolder(folder), first_step)
    for step in steps:
        log.log_metrics({"loss": step / 8, "epoch": step // 4}, step)
        if step == 5:
            log.log_metrics({"accuracy": 50.0, "epoch": 1}, step)
            log.flush()  # the column comes late
    log.finalize("success")


@pytest.mark.parametrize("first_step", [1, 4, 6, 8])
def test_a_resumed_log_has_every_step_once(first_step: int, tmp_path: Path) -> None:
    _write(tmp_path, range(8))
    _write(tmp_path, range(first_step, 12), first_step)
    losses = [(int(row["step"]), float(row["loss"])) for row in _rows(tmp_path) if row["loss"]]
    assert losses == [(step, step / 8) for step in range(12)]
    assert [row["step"] for row in _rows(tmp_path) if row["accuracy"]] == ["5"]
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.csv"]


@pytest.mark.parametrize("cut", [1, 3, 6])
def test_a_row_that_was_cut_off_is_left_out(cut: int, tmp_path: Path) -> None:
    _write(tmp_path, range(4))
    path = tmp_path / "metrics.csv"
    path.write_bytes(path.read_bytes()[:-cut])
    _write(tmp_path, range(3, 6), 3)
    assert [int(row["step"]) for row in _rows(tmp_path) if row["loss"]] == [0, 1, 2, 3, 4, 5]


def test_logs_of_earlier_commits_become_one(tmp_path: Path) -> None:
    for name, steps in (("metrics.1.csv", range(6)), ("metrics.csv", range(4, 10))):
        pd.DataFrame({"loss": [step / 8 for step in steps], "step": steps}).to_csv(
            tmp_path / name, index=False
        )
    _write(tmp_path, range(8, 12), 8)
    assert [float(row["loss"]) for row in _rows(tmp_path) if row["loss"]] == [
        step / 8 for step in range(12)
    ]
    assert not (tmp_path / "metrics.1.csv").exists()


def test_the_last_values_are_those_that_were_logged_last(tmp_path: Path) -> None:
    _write(tmp_path, range(8))
    frame = pd.read_csv(tmp_path / "metrics.csv")
    wanted = {name: frame[name].dropna().iloc[-1] for name in frame}
    assert last_values(RunFolder(tmp_path)) == pytest.approx(wanted)


def test_a_log_that_cannot_be_written_or_read_is_named(tmp_path: Path) -> None:
    log, path = MetricsLog(RunFolder(tmp_path)), tmp_path / "metrics.csv"
    log.log_metrics({"loss": 1.0}, 0)
    log.flush()
    log.log_metrics({"loss": 2.0}, 1)
    path.unlink()
    path.mkdir()
    with pytest.raises(RunFileError, match=r"metrics\.csv' cannot be written: .*directory"):
        log.flush()
    path.rmdir()
    path.write_text(f"loss,step\n{'1' * 200_000},0\n")  # longer than a field of csv may be
    with pytest.raises(RunFileError, match=r"metrics\.csv' cannot be used: field larger than"):
        last_values(RunFolder(tmp_path))
