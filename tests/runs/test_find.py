# SPDX-License-Identifier: MIT
"""Claiming a run's folder: one for each run, made by the first rank, and none for nothing."""

import threading
from pathlib import Path

import pytest
from lightning.pytorch.utilities import rank_zero_only

from solo_plugins.runs.find import ResumePoint, claimed
from solo_plugins.runs.folder import RunFolder


def test_runs_that_start_at_once_get_folders_of_their_own(tmp_path: Path) -> None:
    run, got = ResumePoint(RunFolder(tmp_path / "method" / "name"), None, finished=False), []
    start, end = threading.Barrier(8), threading.Barrier(8)

    def claim() -> None:
        start.wait()
        with claimed(run) as mine:
            end.wait()  # an empty folder is given back
            got.append(mine.folder.path.name)
            (mine.folder.path / "config.yaml").touch()

    threads = [threading.Thread(target=claim) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == ["name", *(f"name-{number}" for number in range(2, 9))]


def test_a_run_that_writes_nothing_leaves_no_folder(tmp_path: Path) -> None:
    run = ResumePoint(RunFolder(tmp_path / "name"), None, finished=False)
    with pytest.raises(RuntimeError, match="before the first file"), claimed(run):
        raise RuntimeError("before the first file")
    assert not run.folder.path.exists()


@pytest.mark.parametrize(("rank", "made"), [(0, True), (1, False), (7, False)])
def test_only_the_first_rank_makes_a_folder(
    rank: int, made: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rank_zero_only, "rank", rank)
    with claimed(ResumePoint(RunFolder(tmp_path / "name"), None, finished=False)) as run:
        assert run.folder.path.exists() is made
