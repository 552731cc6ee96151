# SPDX-License-Identifier: MIT
"""Runs that differ in the location of their target only are one line of a picture."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from solo_plugins.report.read import Number, read_run
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
    # p = 1: exp(-sqrt 2) / 2 of the outputs are active
    assert {row.label for row in rows} == {"p = 1, μ = −1", "p = 1, calibrated to 12.2 %"}
    assert {cells(row)["target"] for row in rows} == {row.label for row in rows}
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


def _asked_and_resolved(
    run: Run, name: str, asked: dict[str, Any], resolved: dict[str, Any]
) -> Path:
    """A run of today: what was asked for beside what came of it."""
    folder = run(name, config={"optimizer": resolved})
    shutil.move(folder / "config.yaml", folder / "resolved.yaml")
    cfg = OmegaConf.load(folder / "resolved.yaml")
    assert isinstance(cfg, DictConfig)
    cfg.optimizer = asked
    OmegaConf.save(OmegaConf.create({"defaults": ["_self_"]}), folder / "config.yaml")
    with (folder / "config.yaml").open("a") as file:
        file.write(OmegaConf.to_yaml(cfg))
    return folder


def test_settings_are_shown_as_they_were_typed(run: Run) -> None:
    # solo-learn multiplies the rate by batch size / 256
    rates = [
        _asked_and_resolved(
            run,
            f"run{rate}",
            {"batch_size": 64, "lr": rate},
            {"batch_size": 64, "lr": rate / 4},
        )
        for rate in (0.1, 0.2)
    ]
    rows, _ = group([read_run(folder) for folder in rates])
    assert {row.label for row in rows} == {"p = 1, μ = 0 (lr = 0.1)", "p = 1, μ = 0 (lr = 0.2)"}


def test_a_setting_that_follows_from_another_is_not_shown(run: Run) -> None:
    sizes = [
        _asked_and_resolved(
            run,
            f"run{size}",
            {"batch_size": size, "lr": 0.1},
            {"batch_size": size, "lr": 0.1 * size / 256},
        )
        for size in (64, 128)
    ]
    rows, _ = group([read_run(folder) for folder in sizes])
    assert {row.label for row in rows} == {
        "p = 1, μ = 0 (batch_size = 64)",
        "p = 1, μ = 0 (batch_size = 128)",
    }


def test_what_was_asked_for_and_cannot_be_read_is_noted(run: Run) -> None:
    folder = _asked_and_resolved(run, "run", {"lr": 0.1}, {"lr": 0.2})
    (folder / "config.yaml").write_text("[")
    (noted,) = read_run(folder).unreadable
    assert noted.where.endswith("config.yaml")


def test_series_whose_first_differences_are_the_same_have_numbers(run: Run) -> None:
    changes = ({"lr": 1, "a": 1, "b": 1}, {"lr": 2, "a": 1, "b": 1}, {"lr": 1, "a": 2, "b": 2})
    folders = [run(f"run{i}", config={"optimizer": each}) for i, each in enumerate(changes)]
    rows, _ = group([read_run(folder) for folder in folders])
    first = "Rectified LpJEPA, p = 1 (a = 1, b = 1, ...)"
    last = "Rectified LpJEPA, p = 1 (a = 2, b = 2, ...)"
    assert {row.series for row in rows} == {f"{first} #1", f"{first} #2", last}


def test_the_active_fraction_of_a_run_without_validation_is_one_number(run: Callable) -> None:
    log = {
        "train_l0_sparsity_metric_last": [0.5, 0.45, 0.4],
        "train_l0_sparsity_metric_epoch": [0.6, 0.5, 0.45],
    }
    summary = {name: values[-1] for name, values in log.items()}
    summary["train_l0_sparsity_metric_step"] = 0.4
    read = read_run(run("a", log=log, summary=summary))
    assert read.curves["l0"].tolist() == [0.5, 0.45, 0.4]
    assert read.numbers["l0"] == Number(read.curves["l0"].iloc[-1], "training")
