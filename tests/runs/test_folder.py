# SPDX-License-Identifier: MIT
"""A run's folder: what is written is read again, whole or not at all, and damage is named."""

import json
import math
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from solo_plugins.runs.folder import RunFileError, RunFolder, RunState, folder_name


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """Return an empty folder of a run."""
    return RunFolder(tmp_path)


def test_what_was_asked_for_may_be_found_out_from_the_images(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    asked = OmegaConf.create(
        {
            "optimizer": {"batch_size": "auto"},
            "augmentations": [{"crop_size": "auto", "mean": "auto", "std": "auto"}],
        }
    )
    crop = {"crop_size": 32, "mean": [0.5] * 3, "std": [0.5] * 3}
    cfg = OmegaConf.create({"optimizer": {"batch_size": 16}, "augmentations": [crop]})
    folder.write_config(asked, cfg)
    assert folder.read_asked() == asked
    folder.write_config(asked, asked)
    with pytest.raises(RunFileError, match=r"`optimizer\.batch_size` is to be a whole number"):
        folder.read_config()


def test_a_configuration_is_read_as_it_was_resolved_and_kept_as_it_was_asked(
    folder: RunFolder,
) -> None:
    cfg = OmegaConf.create({"name": "a", "data": {"path": None}, "rates": [0.1, 1e-20]})
    asked = OmegaConf.create({"name": "a", "same": "${name}"})
    folder.write_config(asked, cfg)
    assert folder.read_config() == cfg
    assert folder.config_path == folder.path / "resolved.yaml"
    saved = OmegaConf.load(folder.path / "config.yaml")
    assert (saved.pop("defaults")[0], saved) == (
        {"shared@_global_": ["program"]},
        {"name": "a", "same": "a"},
    )


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (("knn",), "knn.json"),
        (("linear", "backbone"), "linear-backbone.json"),
        (("finetuned", "projector"), "finetuned-projector.json"),
        (("linear", "backbone", "cifar10"), "linear-backbone@cifar10.json"),
        (("knn", None, "a/b"), "knn@a-b.json"),
    ],
    ids=str,
)
def test_a_result_has_a_file_of_its_own(arguments: tuple, name: str, folder: RunFolder) -> None:
    path = folder.evaluation_path(*arguments)
    assert path == folder.path / name
    assert folder.read_evaluation(path) is None
    folder.write_evaluation(path, {"acc1": 0.1 + 0.2})
    assert folder.read_evaluation(path) == {"acc1": 0.1 + 0.2}
    assert folder.evaluations() == [path]


@pytest.mark.parametrize("content", [{"acc1": 0.5}, {"new": 1}])
def test_a_file_is_replaced_as_a_whole(content: dict, folder: RunFolder) -> None:
    folder.write_summary({"old": 1})
    with pytest.raises(TypeError, match="not JSON serializable"):
        folder.write_summary({"broken": object()})
    assert folder.read_summary() == {"old": 1}
    folder.write_summary(content)
    assert json.dumps(folder.read_summary()) == json.dumps(content)
    assert [path.name for path in folder.path.iterdir()] == ["summary.json"]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_json_has_no_number_for_is_null_and_read_from_old_files(
    value: float, folder: RunFolder
) -> None:
    folder.write_summary({"acc1": value, "more": [{"l0": value}, 1.5]})
    path = folder.path / "summary.json"
    wanted = {"acc1": None, "more": [{"l0": None}, 1.5]}
    assert json.loads(path.read_text(), parse_constant=pytest.fail) == wanted
    assert folder.read_summary() == wanted
    path.write_text(json.dumps({"acc1": value}))
    assert str(folder.read_summary()["acc1"]) == str(value)


@pytest.mark.parametrize(
    ("state", "summary", "finished"),
    [
        ({"status": "finished"}, {}, True),
        ({"status": "finished"}, None, False),
        ({"status": "running"}, {}, False),
        ({"status": "stopped"}, {"epochs": 4}, False),
        # of an earlier commit, or with a damaged state
        (None, {"epochs": 4, "steps": 12}, True),
        (None, {"epochs": 3, "steps": 11}, False),
        ("{", {"epochs": 4, "steps": 12}, True),
        ("{", {"steps": 12}, False),
    ],
    ids=str,
)
def test_a_run_is_finished_when_its_last_epoch_is_done_and_its_summary_there(
    state: Any, summary: Any, finished: bool, folder: RunFolder
) -> None:
    (folder.path / "config.yaml").write_text("max_epochs: 4")
    if isinstance(state, dict):
        folder.write_state(RunState(**state))
        assert folder.read_state() == RunState(**{**asdict(folder.read_state()), **state})
    elif state is not None:
        (folder.path / "state.json").write_text(state)
    if summary is not None:
        folder.write_summary(summary)
    assert folder.finished is finished


@pytest.mark.parametrize(
    ("config", "summary", "status"),
    [
        ("max_epochs: 4", {"epochs": 3, "steps": 9}, "stopped"),
        ("max_epochs: 4", {"epochs": 4}, "finished"),
        ("max_epochs: 4\nmax_steps: 9", {"epochs": 3, "steps": 9}, "finished"),
        ("max_epochs: 4\nmax_steps: 9", {"epochs": 3, "steps": 8}, "stopped"),
        ("max_epochs: 4\nmax_steps: 0", {"epochs": 3, "steps": 9}, "stopped"),
        ("max_epochs: 4\nmax_steps: 1", {"epochs": 1, "steps": 1}, "finished"),
        ("max_epochs: null", {"epochs": 1, "steps": 1}, "finished"),
    ],
    ids=["too few", "whole", "by its steps", "too few steps", "no steps", "one step", "no epochs"],
)
def test_what_became_of_a_run_of_an_earlier_commit_is_seen_from_its_summary(
    config: str, summary: dict, status: str, folder: RunFolder
) -> None:
    (folder.path / "config.yaml").write_text(config)
    folder.write_summary(summary)
    epochs, steps = summary["epochs"], summary.get("steps", 0)
    assert folder.read_state() == RunState(status, "", epochs, steps, "", "", 0, "")


def test_checkpoints_stand_in_the_order_in_which_they_count(folder: RunFolder) -> None:
    ages = {"previous.ckpt": 9, "a.ckpt": 3, "z.ckpt": 1, "last.ckpt": 5, "m.ckpt": 2}
    for name, age in ages.items():
        (folder.path / name).touch()
        os.utime(folder.path / name, (time.time() - 60 * age,) * 2)
    (folder.path / "folder.ckpt").mkdir()
    names = [path.name for path in folder.checkpoints()]
    assert names == ["last.ckpt", "previous.ckpt", "z.ckpt", "m.ckpt", "a.ckpt"]
    assert folder.find_checkpoint() == folder.path / "last.ckpt"


@pytest.mark.parametrize(
    ("variables", "job"),
    [
        ({}, ""),
        ({"SLURM_JOB_ID": "12"}, "12.0"),
        ({"SLURM_JOB_ID": "12", "SLURM_RESTART_COUNT": "3"}, "12.3"),
        ({"SLURM_RESTART_COUNT": "3"}, ""),
    ],
    ids=str,
)
def test_a_state_has_the_job_of_a_cluster(
    variables: dict[str, str], job: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SLURM_JOB_ID", "SLURM_RESTART_COUNT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert RunState("running").job == job


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("exp/a", "exp-a"),
        ("lr={0.1}", "lr=-0.1"),
        ("a: b # c?", "a-b-c"),
        ("../..", "run"),
        ("", "run"),
        ("Ä ö", "A-o"),
        ("x" * 300, "x" * 80),
        ("p=0.5_mu=-1", "p=0.5_mu=-1"),
    ],
)
def test_any_text_becomes_a_name_that_folders_and_wandb_take(name: str, wanted: str) -> None:
    assert folder_name(name) == wanted


@pytest.mark.parametrize("name", ["config.yaml", "last.ckpt", "metrics.csv", "summary.json"])
def test_each_file_of_a_run_marks_its_folder(name: str) -> None:
    assert RunFolder.holds_a_run(["notes.txt", name])
    assert not RunFolder.holds_a_run(["notes.txt", f"other-{name}"])


def test_logs_come_in_the_order_in_which_they_were_written(folder: RunFolder) -> None:
    names = [*(f"metrics.{part}.csv" for part in range(1, 12)), "metrics.csv"]
    for name in reversed(names):
        (folder.path / name).touch()
    assert [path.name for path in folder.logs()] == names


@pytest.mark.parametrize("text", ["", "{", "[]", "1", "\x00"], ids=["empty", "cut", *"[1", "nul"])
def test_a_damaged_summary_is_named(text: str, folder: RunFolder) -> None:
    (folder.path / "summary.json").write_text(text)
    with pytest.raises(RunFileError, match=r"summary\.json' cannot be used: \w+"):
        folder.read_summary()


@pytest.mark.parametrize("text", ["- 1", "a: [", "a: ${b}", "\x00"], ids=["list", *"[$", "nul"])
@pytest.mark.parametrize("name", ["config.yaml", "args.json"])
def test_a_damaged_configuration_is_named(name: str, text: str, folder: RunFolder) -> None:
    (folder.path / name).write_text(text)
    with pytest.raises(RunFileError, match=rf"{name}' cannot be used: \w+"):
        folder.read_config()


@pytest.mark.parametrize("value", [0.0, 0.5])
def test_a_setting_that_is_gone_counts_unless_it_was_off(value: float, folder: RunFolder) -> None:
    cfg = OmegaConf.create({"method_kwargs": {"coordinate_weight": value}})
    folder.write_config(cfg, cfg)
    kept = {"coordinate_weight": value} if value else {}
    assert folder.read_config() == {"method_kwargs": kept}


def test_a_run_that_is_taken_up_is_the_same_run_of_this_process() -> None:
    before = RunState(
        status="stopped", reason="a callback", epochs=3, steps=66, run_id="ab", host="x", process=1
    )
    now, fresh = before.now(), RunState()
    assert (now.run_id, now.epochs, now.steps) == ("ab", 3, 66)
    assert (now.status, now.reason, now.host) == (fresh.status, fresh.reason, fresh.host)
    assert now.process == fresh.process != 1


def test_of_a_folders_checkpoints_the_newest_stands_for_it_and_any_where_none_does(
    tmp_path: Path,
) -> None:
    folder = RunFolder(tmp_path)
    assert folder.stands_for(tmp_path / "best.ckpt")
    for path in (folder.previous_checkpoint, folder.last_checkpoint):
        path.touch()
    assert folder.stands_for(folder.last_checkpoint)
    assert not folder.stands_for(folder.previous_checkpoint)
    assert not folder.stands_for(tmp_path / "best.ckpt")
