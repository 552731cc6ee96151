# SPDX-License-Identifier: MIT
"""Finding and taking up a run: by its identity, alone, and past damaged neighbours."""

import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf

from solo_plugins.errors import ConfigurationError
from solo_plugins.runs.find import ResumePoint, claimed, compared, find_run
from solo_plugins.runs.folder import RunFolder
from solo_plugins.runs.lock import HeldError

Make = Callable[..., DictConfig]


@pytest.fixture
def cfg(tmp_path: Path) -> Make:
    """Return a function that makes a resolved configuration, with changes by dotted key."""

    def make(**changes: Any) -> DictConfig:
        cfg = OmegaConf.create(
            {
                "name": "name",
                "method": "method",
                "max_epochs": 4,
                "devices": 1,
                "num_nodes": 1,
                "precision": "32-true",
                "optimizer": {"lr": 0.1},
                "data": {
                    "train_path": "/data/a",
                    "train_fingerprint": "1",
                    "val_path": "/data/b",
                    "val_fingerprint": "2",
                    "num_workers": 4,
                },
                "checkpoint": {"dir": str(tmp_path)},
                "auto_resume": {"enabled": True, "max_hours": 36},
                "resume_from_checkpoint": None,
            }
        )
        for key, value in changes.items():
            OmegaConf.update(cfg, key.replace("__", "."), value, force_add=True)
        return cfg

    return make


def _leave(cfg: DictConfig, *, checkpoint: bool = True) -> Path:
    """Leave an interrupted run."""
    try:
        with claimed(find_run(cfg), cfg, cfg) as run:
            if checkpoint:
                torch.save({"state_dict": {}}, run.folder.last_checkpoint)
            raise RuntimeError("interrupted")
    except RuntimeError:
        return run.folder.path


def test_runs_that_start_at_once_get_folders_of_their_own(cfg: Make, tmp_path: Path) -> None:
    run, got = ResumePoint(RunFolder(tmp_path / "method" / "name"), None, finished=False), []
    start, end = threading.Barrier(8), threading.Barrier(8)

    def claim(number: int) -> None:
        mine = cfg(seed=number)
        start.wait()
        with claimed(run, mine, mine) as own:
            end.wait()  # an empty folder is given back
            got.append(own.folder.path.name)

    threads = [threading.Thread(target=claim, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == ["name", *(f"name-{number}" for number in range(2, 9))]


def test_a_run_that_writes_nothing_leaves_no_folder(cfg: Make) -> None:
    assert not _leave(cfg(), checkpoint=False).exists()


@pytest.mark.parametrize(("rank", "made"), [(0, True), (1, False), (7, False)])
def test_only_the_first_rank_makes_a_folder(
    rank: int, made: bool, cfg: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = cfg()
    run = find_run(mine)
    monkeypatch.setattr(rank_zero_only, "rank", rank)
    with claimed(run, mine, mine) as run:
        assert run.folder.path.exists() is made


def test_the_processes_that_a_run_starts_find_what_it_found(
    cfg: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = _leave(cfg())
    mine = cfg()
    with claimed(find_run(mine), mine, mine) as run:
        monkeypatch.setattr(rank_zero_only, "rank", 1)
        assert find_run(cfg()) == run
        monkeypatch.setattr(rank_zero_only, "rank", 0)
    assert run.checkpoint == folder / "last.ckpt"


@pytest.mark.parametrize(
    "change",
    [
        {"data__train_fingerprint": "3"},
        {"data__val_fingerprint": "3"},
        {"precision": "bf16-mixed"},
        {"devices": 2},
        {"devices": [0, 1]},
        {"num_nodes": 2},
        {"sync_batchnorm": True},
        {"max_epochs": 5},
        {"optimizer__lr": 0.2},
        {"name": "other"},
        {"begins_from": {"checkpoint": "x", "modified": 1}},
    ],
    ids=str,
)
def test_what_decides_the_result_makes_another_run(change: dict, cfg: Make) -> None:
    _leave(cfg())
    assert compared(cfg(**change)) != compared(cfg())
    if "begins_from" not in change:  # which finding sets itself
        assert find_run(cfg(**change)).checkpoint is None


@pytest.mark.parametrize(
    "change",
    [
        {"data__train_path": "/moved/a", "data__val_path": "/moved/b"},
        {"data__num_workers": 0},
        {"devices": [3]},
        {"accelerator": "cpu"},
        {"max_time": "00:01:00:00"},
        {"checkpoint__every_n_steps": 5},
        {"profiler": "simple"},
    ],
    ids=str,
)
def test_what_says_where_and_how_fast_does_not(change: dict, cfg: Make) -> None:
    folder = _leave(cfg())
    assert find_run(cfg(**change))[:2] == (RunFolder(folder), folder / "last.ckpt")


@pytest.mark.parametrize(("path", "found"), [("/data/a", True), ("/data/c", False)])
def test_runs_without_a_fingerprint_are_known_by_their_paths(
    path: str, found: bool, cfg: Make
) -> None:
    folder = _leave(cfg())
    old = OmegaConf.load(folder / "resolved.yaml")
    del old.data.train_fingerprint, old.data.val_fingerprint, old.begins_from
    (folder / "resolved.yaml").unlink()
    OmegaConf.save(old, folder / "config.yaml")
    assert (find_run(cfg(data__train_path=path)).checkpoint is not None) is found


def test_another_number_of_processes_is_said(cfg: Make) -> None:
    folder = _leave(cfg())
    (note,) = find_run(cfg(devices=2, optimizer__lr=0.2)).notes
    assert f"{folder} is this run on another number of processes" in note


@pytest.mark.parametrize("with_checkpoint", [True, False])
def test_a_run_that_is_under_way_is_refused(with_checkpoint: bool, cfg: Make) -> None:
    mine = cfg()
    with claimed(find_run(mine), mine, mine) as run:
        if with_checkpoint:
            torch.save({"state_dict": {}}, run.folder.last_checkpoint)
        with pytest.raises(HeldError, match=r"to be free but .* \(process \d+ on .*auto_resume"):
            find_run(cfg())
        other = cfg(auto_resume__enabled=False)
        with claimed(find_run(other), other, other) as beside:
            assert beside.folder != run.folder


def test_a_run_that_began_since_it_was_looked_for_is_refused(cfg: Make) -> None:
    mine, late = cfg(), cfg()
    found = find_run(late)
    with claimed(find_run(mine), mine, mine), pytest.raises(HeldError), claimed(found, late, late):
        pass


@pytest.mark.parametrize(
    "text", ["", "a: [", "- 1", "a: &a [*a]", "a: ${b}", "\x00"], ids=["empty", *"[-&$", "nul"]
)
@pytest.mark.parametrize("name", ["config.yaml", "resolved.yaml"])
def test_a_bad_neighbour_is_named_and_stops_nobody(
    name: str, text: str, cfg: Make, tmp_path: Path
) -> None:
    folder = _leave(cfg())
    bad = tmp_path / "method" / "bad"
    bad.mkdir()
    (bad / name).write_text(text)
    (bad / "last.ckpt").write_text("newer")
    found = find_run(cfg())
    assert found.folder.path == folder
    assert [f"{bad / name}" in note for note in found.notes] == [True]


@pytest.mark.parametrize("content", [b"", b"text", "cut"], ids=["empty", "text", "cut"])
def test_a_damaged_checkpoint_is_said_and_the_one_before_it_taken(
    content: bytes | str, cfg: Make
) -> None:
    folder = RunFolder(_leave(cfg()))
    whole = folder.last_checkpoint.read_bytes()
    folder.last_checkpoint.write_bytes(whole[:-100] if content == "cut" else bytes(content))  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=r"damaged.*`auto_resume.enabled=false` begins"):
        find_run(cfg())
    assert find_run(cfg(auto_resume__enabled=False)).checkpoint is None
    folder.previous_checkpoint.write_bytes(whole)
    found = find_run(cfg())
    assert found.checkpoint == folder.previous_checkpoint
    assert "last.ckpt" in found.notes[0]
    explicit = find_run(cfg(resume_from_checkpoint=str(folder)))
    assert explicit.checkpoint == folder.previous_checkpoint


@pytest.mark.parametrize("enabled", [True, False])
def test_more_epochs_are_a_run_of_their_own(enabled: bool, cfg: Make) -> None:
    source = _leave(cfg())
    settings = {
        "max_epochs": 8,
        "resume_from_checkpoint": str(source),
        "auto_resume__enabled": enabled,
    }
    longer = find_run(cfg(**settings))
    assert (longer.checkpoint, longer.lengthens) == (source / "last.ckpt", True)
    assert "max_epochs" in longer.notes[0]
    if enabled:  # killed, it goes on from its own checkpoint
        own = _leave(cfg(**settings))
        again = find_run(cfg(**settings))
        assert (again.checkpoint, again.lengthens) == (own / "last.ckpt", False)


@pytest.mark.parametrize("exists", [True, False])
def test_what_is_no_checkpoint_to_go_on_from_is_named(
    exists: bool, cfg: Make, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    if exists:
        other.mkdir()  # a folder without a checkpoint
    message = r"^Expected `resume_from_checkpoint` to be a checkpoint .* but got '.*/other'\.$"
    with pytest.raises(ConfigurationError, match=message):
        find_run(cfg(resume_from_checkpoint=str(other)))


@pytest.mark.parametrize(("max_hours", "goes_on"), [(1, False), (2.1, True)])
def test_a_run_is_taken_up_for_so_many_hours(max_hours: float, goes_on: bool, cfg: Make) -> None:
    folder = RunFolder(_leave(cfg()))
    two_hours_ago = time.time() - 2 * 3600
    os.utime(folder.last_checkpoint, (two_hours_ago, two_hours_ago))
    found = find_run(cfg(auto_resume__max_hours=max_hours))
    assert found.checkpoint == (folder.last_checkpoint if goes_on else None)


def test_what_ends_a_run_by_an_error_is_in_its_state(cfg: Make) -> None:
    state = RunFolder(_leave(cfg())).read_state()
    assert state is not None
    assert (state.status, "interrupted" in state.reason) == ("interrupted", True)


def test_a_run_that_is_finished_is_found_as_such(cfg: Make) -> None:
    folder = RunFolder(_leave(cfg()))
    state = folder.read_state()
    assert state is not None
    folder.write_state(replace(state, status="finished", epochs=4))
    folder.write_summary({"epochs": 4})
    found = find_run(cfg())
    wanted = (folder.path, folder.last_checkpoint, True)
    assert (found.folder.path, found.checkpoint, found.finished) == wanted


@pytest.mark.parametrize("status", ["finished", "interrupted"])
def test_a_run_that_is_named_is_found_as_what_it_is(status: str, cfg: Make) -> None:
    folder = RunFolder(_leave(cfg()))
    torch.save({"state_dict": {}}, folder.previous_checkpoint)
    folder.last_checkpoint.write_bytes(b"damaged")
    state = folder.read_state()
    assert state is not None
    folder.write_state(replace(state, status=status, epochs=4))
    if status == "finished":
        folder.write_summary({"epochs": 4})
    found = find_run(cfg(resume_from_checkpoint=str(folder)))
    wanted = (folder.path, folder.previous_checkpoint, status == "finished", False)
    assert (found.folder.path, found.checkpoint, found.finished, found.lengthens) == wanted
    assert "last.ckpt" in found.notes[0]


@pytest.mark.parametrize("key", ["name", "exclude_bias_n_norm_wd"])
def test_momenta_of_another_optimizer_are_refused(key: str, cfg: Make) -> None:
    source = _leave(cfg(**{f"optimizer__{key}": "before"}))
    settings = {"max_epochs": 8, "resume_from_checkpoint": str(source)}
    assert find_run(cfg(**settings, **{f"optimizer__{key}": "before"})).lengthens
    said = rf"^Expected `optimizer\.{key}` to be 'before', as that of .*, but got 'now'\.$"
    with pytest.raises(ConfigurationError, match=said):
        find_run(cfg(**settings, **{f"optimizer__{key}": "now"}))


def test_a_process_that_was_told_nothing_looks_for_itself(
    cfg: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder(_leave(cfg()))
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    assert find_run(cfg()).checkpoint == folder.last_checkpoint


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ({"performance": {}}, {"performance": {"compile": False}}),
        ({}, {"sync_batchnorm": False}),
        (
            {"pretrained_feature_extractor": "x"},
            {"pretrained_feature_extractor": "x", "data__shots": None},
        ),
        ({"dali": {"device": "gpu"}}, {"dali": {"device": "cpu"}}),
        (
            {"dali": {"device": "gpu"}, "data__format": "image_folder"},
            {"data__format": "image_folder"},
        ),
    ],
    ids=["compile", "sync_batchnorm", "shots", "no DALI", "images"],
)
def test_a_setting_that_came_later_or_is_not_read_makes_no_other_run(
    before: dict, now: dict, cfg: Make
) -> None:
    folder = _leave(cfg(**before))
    old = OmegaConf.load(folder / "resolved.yaml")
    del old.begins_from  # this one came later, too
    OmegaConf.save(old, folder / "resolved.yaml")
    assert find_run(cfg(**now)).checkpoint == folder / "last.ckpt"


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ({"performance": {}}, {"performance": {"compile": True}}),
        ({}, {"sync_batchnorm": True}),
        (
            {"pretrained_feature_extractor": "x"},
            {"pretrained_feature_extractor": "x", "data__shots": 5},
        ),
        (
            {"dali": {"device": "gpu"}, "data__format": "dali"},
            {"dali": {"device": "cpu"}, "data__format": "dali"},
        ),
    ],
    ids=["compile", "sync_batchnorm", "shots", "DALI"],
)
def test_a_setting_that_came_later_counts_where_it_is_another(
    before: dict, now: dict, cfg: Make
) -> None:
    _leave(cfg(**before))
    assert find_run(cfg(**now)).checkpoint is None


@pytest.mark.parametrize("between", ["other", "damaged"])
def test_a_run_is_found_behind_newer_ones(between: str, cfg: Make) -> None:
    folder = _leave(cfg())
    for number in range(2):
        newer = _leave(cfg(seed=number))
        if between == "damaged":
            (newer / "resolved.yaml").write_text("a: [")
        os.utime(newer / "last.ckpt", (time.time() + 60, time.time() + 60))
    found = find_run(cfg())
    assert found.checkpoint == folder / "last.ckpt"
    assert len(found.notes) == (2 if between == "damaged" else 0)


@pytest.mark.parametrize("number", [3, 4, 5])
def test_three_damaged_neighbours_are_named_and_others_counted(number: int, cfg: Make) -> None:
    for seed in range(number):
        (_leave(cfg(seed=seed)) / "resolved.yaml").write_text("a: [")
    notes = find_run(cfg()).notes
    assert len(notes) == min(number, 4)
    assert [note for note in notes if note.endswith(" more.")] == (
        [f"Passed over: {number - 3} more."] if number > 3 else []
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"devices": 2}, True),
        ({"devices": None, "num_nodes": 2}, True),
        ({"devices": 2, "optimizer__lr": 0.2, "optimizer__classifier_lr": 0.3}, True),
        ({"devices": 2, "max_epochs": 5}, False),
        ({"optimizer__lr": 0.2}, False),
        ({"devices": None}, None),
    ],
    ids=str,
)
def test_the_number_of_processes_and_what_follows_from_it_is_said(
    change: dict, said: bool | None, cfg: Make
) -> None:
    _leave(cfg())
    found = find_run(cfg(**change))
    assert (found.checkpoint is not None) is (said is None)
    assert any("another number of processes" in note for note in found.notes) is bool(said)


def test_what_differs_is_listed_and_rates_last(cfg: Make) -> None:
    settings = {"resume_from_checkpoint": str(_leave(cfg())), "name": "other"}
    (note,) = find_run(cfg(**settings, optimizer__lr=0.2, precision="16-mixed")).notes
    assert "of other settings (name, precision, optimizer.lr): a new run begins" in note


def test_a_run_that_begins_from_another_checkpoint_is_another(cfg: Make, tmp_path: Path) -> None:
    source = _leave(cfg())
    settings = {"max_epochs": 8, "resume_from_checkpoint": str(source)}
    own = _leave(cfg(**settings))
    again = find_run(cfg(**settings))
    assert (again.folder.path, again.finished) == (own, False)
    copy = tmp_path / "copy.ckpt"
    copy.write_bytes((source / "last.ckpt").read_bytes())
    os.utime(copy, ns=(1, (source / "last.ckpt").stat().st_mtime_ns))
    moved = find_run(cfg(**{**settings, "resume_from_checkpoint": str(copy)}))
    assert moved.checkpoint == copy
    os.utime(source / "last.ckpt", (time.time() + 5, time.time() + 5))
    later = find_run(cfg(**settings))
    assert (later.checkpoint, later.finished) == (source / "last.ckpt", False)
