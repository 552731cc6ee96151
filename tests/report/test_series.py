# SPDX-License-Identifier: MIT
"""Runs that differ in the location of their target only are one line of a picture."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from solo_plugins.report.read import read_run
from solo_plugins.report.rows import group
from solo_plugins.report.table import cells

Run = Callable[..., Path]


@pytest.mark.parametrize("fraction_given", [False, True], ids=["mu", "fraction"])
def test_runs_of_one_p_are_one_series_by_mu(fraction_given: bool, run: Run) -> None:
    def kwargs(fraction: float, mu: float) -> dict[str, Any]:
        given = {"proj_hidden_dim": 8, "proj_output_dim": 8, "mean_shift_value": mu}
        return {**given, "target_active_fraction": fraction} if fraction_given else given

    folders = [
        run(f"run{fraction}", config={"method_kwargs": kwargs(fraction, mu)})
        # p = 1: mu is ln(2 fraction) / sqrt 2
        for fraction, mu in ((0.5, 0.0), (0.05, -1.6282), (0.1, -1.1380))
    ]
    rows, _ = group([read_run(folder) for folder in folders])
    assert {row.series for row in rows} == {"Rectified LpJEPA, p = 1"}
    fractions = [row.target.l0 for row in rows if row.target]
    assert fractions == pytest.approx([0.05, 0.1, 0.5], abs=1e-4)


def test_calibrated_runs_are_named_so(run: Run) -> None:
    kwargs = {"proj_hidden_dim": 8, "proj_output_dim": 8, "threshold_rate": 0.05, "row_floor": 0.25}
    folders = (
        run("plain", mu=-1.0),
        run("calibrated", config={"method_kwargs": {**kwargs, "mean_shift_value": -1.0}}),
    )
    rows, _ = group([read_run(folder) for folder in folders])
    assert {row.label for row in rows} == {"p = 1, μ = −1", "p = 1, μ = −1, calibrated"}
    assert {cells(row)["target"] for row in rows} == {"p = 1, μ = −1", "p = 1, μ = −1, calibrated"}
    series = {"Rectified LpJEPA, p = 1", "Rectified LpJEPA, p = 1, calibrated"}
    assert {row.series for row in rows} == series


def test_series_that_differ_in_more_have_names_of_their_own(run: Run) -> None:
    folders = [
        run(f"run{rate}{mu}", mu=mu, config={"optimizer": {"lr": rate}})
        for rate in (0.1, 0.2)
        for mu in (-1.0, 0.0)
    ]
    rows, _ = group([read_run(folder) for folder in folders])
    names = [f"Rectified LpJEPA, p = 1 (lr = {rate})" for rate in (0.1, 0.2)]
    assert sorted(row.series for row in rows) == sorted([*names, *names])


def test_series_whose_first_differences_are_the_same_have_numbers(run: Run) -> None:
    changes = ({"lr": 1, "a": 1, "b": 1}, {"lr": 2, "a": 1, "b": 1}, {"lr": 1, "a": 2, "b": 2})
    folders = [run(f"run{i}", config={"optimizer": each}) for i, each in enumerate(changes)]
    rows, _ = group([read_run(folder) for folder in folders])
    first = "Rectified LpJEPA, p = 1 (a = 1, b = 1, ...)"
    last = "Rectified LpJEPA, p = 1 (a = 2, b = 2, ...)"
    assert {row.series for row in rows} == {f"{first} #1", f"{first} #2", last}
