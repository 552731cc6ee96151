# SPDX-License-Identifier: MIT
"""Reading runs and making a table of them: values worked out by hand, and nothing invented."""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from solo_plugins.errors import ConfigurationError
from solo_plugins.report.read import Incomplete, read_run
from solo_plugins.report.rows import Row, group
from solo_plugins.report.search import search
from solo_plugins.report.table import cells, duration

NAN = float("nan")


def _rows(*folders: Path) -> list[dict[str, str]]:
    rows, _ = group(read_run(folder) for folder in folders)
    return [cells(row) for row in rows]


def test_seeds_are_one_row_with_mean_and_sample_deviation(run: Callable) -> None:
    # 60, 62, 67: mean 63, squared deviations 9 + 1 + 16 = 26, over n - 1 = 2 that is 13
    values = {1: 60.0, 2: 62.0, 3: 67.0}
    folders = [run(f"a-{s}", config={"seed": s}, linear=acc) for s, acc in values.items()]
    (row,) = _rows(*folders)
    assert math.sqrt(13) == pytest.approx(3.61, abs=0.005)
    assert row["linear backbone"] == "63.00 ± 3.61"
    assert row["seeds"] == "3 (1, 2, 3)"
    assert row["target"] == "p = 1, μ = 0"
    assert row["epochs"] == "3"


def test_one_seed_has_no_deviation(run: Callable) -> None:
    (row,) = _rows(run("a", linear=61.2))
    assert (row["linear backbone"], row["seeds"]) == ("61.20", "1 (5)")


@pytest.mark.parametrize(
    ("config", "rows"),
    [
        ({"seed": 6}, 1),
        ({"seed": 6, "data": {"dataset": "digits", "num_workers": 4}}, 1),
        ({"seed": 6, "max_epochs": 3.0}, 1),
        ({"seed": 6, "max_epochs": 4}, 2),
        ({"seed": 6, "optimizer": {"lr": 0.1}}, 2),
        ({"seed": 6, "name": "other"}, 2),
    ],
    ids=["seed", "workers", "float", "epochs", "lr", "name"],
)
def test_only_runs_that_differ_in_their_seed_are_one_row(
    config: dict, rows: int, run: Callable
) -> None:
    assert len(_rows(run("a"), run("b", config=config))) == rows


def test_rows_that_look_the_same_say_what_differs(run: Callable) -> None:
    first, second = _rows(run("a"), run("b", config={"optimizer": {"lr": 0.1}}))
    assert first["method"] == "Rectified LpJEPA (lr = 0.002)"
    assert second["method"] == "Rectified LpJEPA (lr = 0.1)"


def test_rows_of_other_folders_and_names_say_so(run: Callable) -> None:
    runs = []
    for name in ("first", "second"):
        for folder, mean in (("cats", 0.4), ("dogs", 0.6)):
            data = {"dataset": "custom", "train_path": folder, "train_fingerprint": folder * 3}
            crop = {"crop_size": 32, "mean": [mean] * 3, "std": [0.2] * 3}
            config = {"name": name, "data": data, "augmentations": [crop]}
            runs.append(run(f"{name}-{folder}", config=config))
            shutil.copy(runs[-1] / "config.yaml", runs[-1] / "resolved.yaml")
    wanted = [
        f"({name}, train_path = {folder})"
        for name in ("first", "second")
        for folder in ("cats", "dogs")
    ]
    assert [row["method"] for row in _rows(*runs)] == [f"Rectified LpJEPA {one}" for one in wanted]


def test_settings_in_lists_and_blocks_are_named_singly(run: Callable) -> None:
    crops = [{"rrc": {"crop_min_scale": scale}, "crop_size": 32} for scale in (0.1, 0.2)]
    configs = [{"augmentations": [crop]} for crop in crops]
    configs[1]["optimizer"] = {"lr": 0.002, "kwargs": {"eta": 0.02}}
    first, second = _rows(*(run(str(i), config=config) for i, config in enumerate(configs)))
    assert first["method"] == "Rectified LpJEPA (crop_min_scale = 0.1, eta = unset)"
    assert second["method"] == "Rectified LpJEPA (crop_min_scale = 0.2, eta = 0.02)"


# p = 1: exp(mu / sigma) / 2 below zero, sigma = 1 / sqrt 2; p = 2: the normal's distribution
@pytest.mark.parametrize(
    ("p", "mu", "l0"),
    [(1.0, -1.0, 0.5 * math.exp(-math.sqrt(2))), (2.0, 1.0, 0.5 * math.erfc(-1 / math.sqrt(2)))],
)
def test_the_targets_active_fraction_is_the_closed_form(
    p: float, mu: float, l0: float, run: Callable
) -> None:
    (row,) = _rows(run("a", p=p, mu=mu))
    assert row["target active"] == f"{l0:.3f}"


def test_a_method_without_target_says_none(run: Callable) -> None:
    (row,) = _rows(run("a", "vicreg"))
    assert (row["method"], row["target"], row["target active"]) == ("VICReg", "none", "none")


def test_what_was_not_measured_says_so(run: Callable) -> None:
    (row,) = _rows(run("a", summary={"seconds": None, "commit": None}))
    missing = {name for name, cell in row.items() if cell == "not run"}
    assert missing == {
        "linear backbone", "linear projector", "kNN backbone", "kNN projector", "active", "l1",
        "dead outputs", "always-on", "all-zero rows", "effective rank", "backbone rank",
        "marginal W2", "nHSIC",
    }  # fmt: skip


def test_knn_is_that_of_k_20_cosine(run: Callable, knn: Callable) -> None:
    (row,) = _rows(run("a", summary={"val_knn_acc1": 11.0}, knn=knn(90.0, 0.25, projector=88.0)))
    assert (row["kNN backbone"], row["kNN projector"]) == ("90.00", "88.00")
    assert (row["active"], row["l1"], row["dead outputs"]) == ("0.250", "0.150", "0.000")


def test_online_values_stand_in_and_are_marked(run: Callable) -> None:
    summary = {"val_knn_acc1": 91.5, "val_l0_sparsity_metric": 0.4, "val_l1_sparsity_metric": 0.2}
    (row,) = _rows(run("a", summary=summary))
    assert (row["kNN backbone"], row["kNN projector"]) == ("91.50 (online)", "not run")
    assert (row["active"], row["l1"]) == ("0.400 (online)", "0.200 (online)")


def test_of_a_run_without_validation_the_training_images_stand_in_and_are_marked(
    run: Callable,
) -> None:
    summary = {
        "train_l0_sparsity_metric_step": 0.4,
        "train_l0_sparsity_metric_epoch": 0.6,  # from the epoch's first steps on
        "train_dead_outputs": 0.1,
        "train_nhsic": None,
    }
    (row,) = _rows(run("a", summary=summary))
    assert (row["active"], row["dead outputs"]) == ("0.400 (training)", "0.100 (training)")
    assert (row["nHSIC"], row["l1"]) == ("NaN (training)", "not run")
    validated = run("b", summary={**summary, "val_l0_sparsity_metric": 0.5}, config={"seed": 6})
    (row,) = _rows(validated)
    assert row["active"] == "0.500 (online)"


NEW = ("always-on", "effective rank", "backbone rank", "marginal W2", "nHSIC")


def _diagnostics(*values: float) -> dict[str, float]:
    names = ("always_on_outputs", "effective_rank", "marginal_distance", "nhsic")
    return dict(zip(names, values, strict=True))


def test_diagnostics_have_columns(run: Callable, knn: Callable) -> None:
    seeds = []
    for seed, rank in {1: 100.0, 2: 102.0}.items():  # deviations of 1 each, over n - 1: sqrt 2
        content = knn(90.0, 0.25)
        content["outputs"] |= _diagnostics(0.125, rank, 0.25, 0.0625)
        content["features"] = {"dim": 512, "effective_rank": rank / 2}
        seeds.append(run(f"a-{seed}", config={"seed": seed}, knn=content))
    (row,) = _rows(*seeds)
    assert [row[name] for name in NEW] == [
        "0.125 ± 0.000", "101.0 ± 1.4", "50.5 ± 0.7", "0.250 ± 0.000", "0.062 ± 0.000",
    ]  # fmt: skip


def test_a_knn_json_without_diagnostics_is_still_read(run: Callable, knn: Callable) -> None:
    (row,) = _rows(run("a", knn=knn(90.0, 0.25)))
    assert (row["active"], *[row[name] for name in NEW]) == ("0.250", *["not run"] * 5)


@pytest.mark.parametrize(("method", "distance"), [("rectified_lpjepa", "not run"), ("ncl", "none")])
def test_undefined_diagnostics_are_not_numbers(
    method: str, distance: str, run: Callable, knn: Callable
) -> None:
    content = knn(90.0, 0.25)
    content["outputs"] |= {"marginal_distance": None, "nhsic": None}
    (row,) = _rows(run("a", method, knn=content))
    assert (row["marginal W2"], row["nHSIC"]) == (distance, "not run")


def test_online_diagnostics_stand_in_and_are_marked(run: Callable) -> None:
    logged = {"dead_outputs": 0.0, "all_zero_rows": 0.5, **_diagnostics(0.125, 10.0, 0.25, 0.5)}
    logged["backbone_effective_rank"] = 20.0
    (row,) = _rows(run("a", summary={f"val_{name}": value for name, value in logged.items()}))
    assert [row[name] for name in ("dead outputs", "all-zero rows", *NEW)] == [
        "0.000 (online)", "0.500 (online)", "0.125 (online)", "10.0 (online)", "20.0 (online)",
        "0.250 (online)",
        "0.500 (online)",
    ]  # fmt: skip


def test_ways_of_measuring_are_never_mixed(run: Callable, knn: Callable) -> None:
    first = run("a", config={"seed": 1}, knn=knn(90.0, 0.25))
    second = run("b", config={"seed": 2}, summary={"val_knn_acc1": 10.0})
    (row,) = _rows(first, second)
    assert row["kNN backbone"] == "90.00 (n=1)"


def test_a_fine_tuned_probe_is_marked(run: Callable) -> None:
    folder = run("a", linear=80.0)
    content = json.loads((folder / "linear-backbone.json").read_text()) | {"finetune": True}
    (folder / "linear-backbone.json").write_text(json.dumps(content))
    assert _rows(folder)[0]["linear backbone"] == "80.00 (fine-tuned)"


@pytest.mark.parametrize("values", [[NAN], [60.0, NAN]], ids=["one", "of two"])
def test_nan_is_shown_and_not_averaged_away(values: list[float], run: Callable) -> None:
    folders = [run(f"a-{s}", config={"seed": s}, linear=acc) for s, acc in enumerate(values)]
    (row,) = _rows(*folders)
    assert row["linear backbone"] == "NaN"


def test_what_rounds_to_nothing_is_not_nothing(run: Callable, knn: Callable) -> None:
    content = knn(90.0, 0.25)
    content["outputs"] |= {"dead_outputs": 0.0004, "all_zero_rows": 0.0}
    (row,) = _rows(run("a", knn=content))
    assert (row["dead outputs"], row["all-zero rows"]) == ("< 0.001", "0.000")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.4, "59 s"), (3599.6, "1 h 0 min"), (90061, "25 h 1 min"), (NAN, "NaN")],
)
def test_times_are_written_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("config.yaml", None, "there is no config.yaml"),
        ("config.yaml", "- 1\n", "config.yaml cannot be used"),
        ("config.yaml", "name: [", "config.yaml cannot be used"),
        ("config.yaml", "method: vicreg\n", "config.yaml cannot be used: .*seed"),
        ("summary.json", None, "no summary.json, the run is at epoch 3 of 3"),
        ("summary.json", "{", "summary.json cannot be used"),
        ("summary.json", "[]", "summary.json cannot be used: it holds no settings"),
        ("summary.json", "{}", "'epochs' is missing"),
        ("summary.json", '{"epochs": 3, "seconds": "long"}', "`seconds` is 'long', not a number"),
    ],
)
def test_a_run_that_cannot_be_used_has_a_reason(
    name: str, content: str | None, reason: str, run: Callable
) -> None:
    folder = run("a")
    (folder / name).unlink() if content is None else (folder / name).write_text(content)
    with pytest.raises(Incomplete, match=reason):
        read_run(folder)


@pytest.mark.parametrize(
    ("name", "content", "column"),
    [
        ("linear-backbone.json", "{", "linear backbone"),
        ("linear-backbone.json", '{"acc1": "high"}', "linear backbone"),
        ("linear-projector.json", "{}", "linear projector"),
        ("knn.json", "[1]", "kNN backbone"),
        ("knn.json", '{"results": [{"k": 20}]}', "kNN projector"),
    ],
)
def test_an_unreadable_result_is_a_marked_cell(
    name: str, content: str, column: str, run: Callable
) -> None:
    folder = run("a", summary={"val_knn_acc1": 11.0})
    (folder / name).write_text(content)
    assert _rows(folder)[0][column] == "unreadable"
    assert [note.where for note in read_run(folder).unreadable] == [str(folder / name)]


def test_curves_join_the_parts_of_an_interrupted_run(run: Callable) -> None:
    folder = run("a", log={"val_acc1": [1.0, 2.0, 3.0]})
    (folder / "metrics.1.csv").write_text("epoch,val_acc1\n0,0.5\n3,4.0\n")
    curve = read_run(folder).curves["linear"]
    # what was logged again is the later value
    assert curve.to_dict() == {0: 1.0, 1: 2.0, 2: 3.0, 3: 4.0}


def test_an_epochs_mean_comes_before_single_steps(run: Callable) -> None:
    loss = "train_rectified_lp_jepa_loss"
    log = {loss: [9.0, 9.0, 9.0], f"{loss}_epoch": [3.0, 2.0, NAN]}
    curve = read_run(run("a", log=log)).curves["loss"]
    # a logged NaN is not an empty cell
    assert curve.index.to_list() == [0, 1, 2]
    assert curve.to_list() == pytest.approx([3.0, 2.0, NAN], nan_ok=True)


@pytest.mark.parametrize("content", ["", "step\n1\n", "epoch,val_acc1\n0,high\n", 'a,epoch\n"'])
def test_a_damaged_log_is_named_and_skipped(content: str, run: Callable) -> None:
    folder = run("a", log={"val_acc1": [1.0, 2.0, 3.0]})
    (folder / "metrics.1.csv").write_text(content)
    found = read_run(folder)
    assert found.curves["linear"].to_list() == [1.0, 2.0, 3.0]
    ((where, reason),) = found.unreadable
    assert where == str(folder / "metrics.1.csv")
    assert reason.startswith("cannot be used: ")


def test_a_repetition_counts_once(run: Callable) -> None:
    early, late = (run(f"a-20260101-00000{i}", linear=60.0 + i) for i in (1, 2))
    rows, left_out = group([read_run(late), read_run(early)])
    assert [row.mean("linear_backbone").value for row in rows] == [62.0]
    assert left_out == [(str(early), f"same configuration and seed as {late}, which is later")]


def test_same_names_in_different_places_are_different_runs(run: Callable, tmp_path: Path) -> None:
    folders = [run(f"{place}/same", config={"seed": i}) for i, place in enumerate("ab")]
    assert search([tmp_path, *folders, str(tmp_path / "*" / "*")])[0] == folders
    (row,) = group(read_run(folder) for folder in folders)[0]
    assert isinstance(row, Row)
    assert [each.folder for each in row.runs] == folders


def test_what_is_no_run_is_passed_over_or_named(run: Callable, tmp_path: Path) -> None:
    folder = run("vicreg/a", "vicreg")
    (tmp_path / "runs" / "sweeps" / "1").mkdir(parents=True)
    (tmp_path / "runs" / "vicreg" / "empty").mkdir()
    folders, left_out = search([tmp_path / "runs", tmp_path / "nowhere"])
    assert folders == [folder]
    assert left_out == [
        (str(tmp_path / "nowhere"), "there is no such folder"),
        (str(tmp_path / "runs" / "vicreg" / "empty"), "the folder is empty"),
    ]


def test_no_run_at_all_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"Expected folders of runs, .* but got '.*'"):
        search([tmp_path])
