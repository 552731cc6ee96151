# SPDX-License-Identifier: MIT
"""What is one line of a picture: runs that differ in the share that they ask for; and its name."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from solo_plugins.report.rows import group
from solo_plugins.report.runs import read_run
from solo_plugins.report.style import by_p
from solo_plugins.report.table import cells

Run = Callable[..., Path]


@pytest.mark.parametrize("asked", [False, True], ids=["mu", "share"])
def test_runs_of_one_p_are_one_series_by_mu(asked: bool, run: Run) -> None:
    def kwargs(share: float, mu: float) -> dict[str, Any]:
        given = {"proj_hidden_dim": 8, "proj_output_dim": 8, "mean_shift_value": mu}
        return {**given, "target_active_fraction": share} if asked else given

    folders = [
        run(f"run{share}", config={"method_kwargs": kwargs(share, mu)})
        # p = 1: mu is ln(2 share) / sqrt 2
        for share, mu in ((0.5, 0.0), (0.05, -1.6282), (0.1, -1.1380))
    ]
    rows, _ = group([read_run(folder) for folder in folders])
    ((_, members),) = by_p(rows)
    shares = [row.target.l0 for row in members if row.target]
    assert shares == pytest.approx([0.05, 0.1, 0.5], abs=1e-4)


def test_runs_whose_share_is_held_are_named_so(run: Run) -> None:
    held = {"proj_hidden_dim": 8, "proj_output_dim": 8, "threshold_rate": 0.05, "row_floor": 0.25}
    run_of = {
        "plain": run("plain", mu=-1.0),
        "held": run("held", config={"method_kwargs": {**held, "mean_shift_value": -1.0}}),
    }
    rows, _ = group([read_run(folder) for folder in run_of.values()])
    assert {row.label for row in rows} == {"p=1, μ=-1", "p=1, μ=-1, calibrated"}
    assert {cells(row)[1] for row in rows} == {"p=1, mu=-1", "p=1, mu=-1, calibrated"}
    labels = {label for label, _ in by_p(rows)}
    assert labels == {"Rectified LpJEPA, p = 1", "Rectified LpJEPA, p = 1, calibrated"}
