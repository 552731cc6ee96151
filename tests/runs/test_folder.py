# SPDX-License-Identifier: MIT
"""A run's folder: what is written is read again, whole or not at all, and damage is named."""

import json
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from solo_plugins.runs.folder import RunFileError, RunFolder


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """Return an empty folder of a run."""
    return RunFolder(tmp_path)


def test_a_configuration_is_read_as_it_was_written(folder: RunFolder) -> None:
    cfg = OmegaConf.create({"name": "a", "data": {"path": None}, "rates": [0.1, 1e-20]})
    folder.write_config(cfg)
    assert folder.read_config() == cfg
    assert folder.config_path == folder.path / "config.yaml"


@pytest.mark.parametrize(
    ("kind", "features", "name"),
    [
        ("knn", None, "knn.json"),
        ("linear", "backbone", "linear-backbone.json"),
        ("finetuned", "projector", "finetuned-projector.json"),
    ],
)
def test_a_result_has_a_file_of_its_own(
    kind: str, features: str | None, name: str, folder: RunFolder
) -> None:
    assert folder.read_evaluation(kind, features) is None
    path = folder.write_evaluation({"acc1": 0.1 + 0.2}, kind, features)
    assert path == folder.path / name
    assert folder.read_evaluation(kind, features) == {"acc1": 0.1 + 0.2}


@pytest.mark.parametrize("content", [{"acc1": float("nan")}, {"new": 1}])
def test_a_file_is_replaced_as_a_whole(content: dict, folder: RunFolder) -> None:
    folder.write_summary({"old": 1})
    with pytest.raises(TypeError, match="not JSON serializable"):
        folder.write_summary({"broken": object()})
    assert folder.read_summary() == {"old": 1}
    folder.write_summary(content)
    assert json.dumps(folder.read_summary()) == json.dumps(content)
    assert [path.name for path in folder.path.iterdir()] == ["summary.json"]


def test_a_run_is_finished_when_it_has_a_summary(folder: RunFolder) -> None:
    assert not folder.finished
    folder.write_summary({})
    assert folder.finished


@pytest.mark.parametrize("name", ["config.yaml", "last.ckpt", "metrics.csv", "summary.json"])
def test_each_file_of_a_run_marks_its_folder(name: str) -> None:
    assert RunFolder.holds_a_run(["notes.txt", name])
    assert not RunFolder.holds_a_run(["notes.txt", f"other-{name}"])


def test_logs_come_in_the_order_in_which_they_were_written(folder: RunFolder) -> None:
    for part in range(12):
        (folder.path / "metrics.csv").write_text(str(part))
        folder.keep_log()
    (folder.path / "metrics.csv").write_text("12")
    assert [path.read_text() for path in folder.logs()] == [str(part) for part in range(13)]


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
    folder.write_config(OmegaConf.create({"method_kwargs": {"coordinate_weight": value}}))
    kept = {"coordinate_weight": value} if value else {}
    assert folder.read_config() == {"method_kwargs": kept}
