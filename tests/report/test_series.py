# SPDX-License-Identifier: MIT
"""Runs that differ in the share that they ask for are one line of a picture."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from solo_plugins.report.rows import group
from solo_plugins.report.runs import read_run
from solo_plugins.report.style import by_p

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
