# SPDX-License-Identifier: MIT
"""What a run's summary says about its code, its releases and its time."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig

from solo_plugins.framework import release
from solo_plugins.runs.provenance import commit, versions
from solo_plugins.training.pretrain import pretrain

Make = Callable[..., DictConfig]


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Return a repository with one commit of ``code/a.py`` and a tag on it."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "a.py").write_text("1")
    _git(tmp_path, "init", "-q")
    _git(tmp_path, "add", ".")
    _git(tmp_path, "commit", "-qm", "one")
    _git(tmp_path, "tag", "-a", "v1", "-m", "v1")
    return tmp_path


def test_the_commit_is_heads(repository: Path) -> None:
    (repository / "new.txt").write_text("untracked")
    assert commit(repository / "code") == _git(repository, "rev-parse", "HEAD")


def test_an_edit_makes_it_dirty(repository: Path) -> None:
    (repository / "code" / "a.py").write_text("2")
    assert commit(repository / "code") == f"{_git(repository, 'rev-parse', 'HEAD')}-dirty"


def test_a_package_installed_in_somebodys_repository_has_no_commit(repository: Path) -> None:
    (repository / ".venv").mkdir()
    (repository / ".venv" / "b.py").write_text("1")
    assert commit(repository / ".venv") is None


def test_a_folder_outside_of_repositories_has_no_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert commit(tmp_path) is None


def test_without_git_there_is_no_commit(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert commit(repository / "code") is None


def test_versions_name_torch_and_the_release_of_solo_learn() -> None:
    found = versions()
    assert set(found) == {"torch", "torchvision", "lightning", "timm", "solo_learn"}
    assert torch.__version__.startswith(found["torch"].partition("+")[0])
    assert found["solo_learn"] == ("main" if release() == "main" else "pypi 1.0.2")


@pytest.mark.usefixtures("methods", "lightning_quiet")
def test_the_seconds_of_a_resumed_run_are_those_of_its_parts(
    make_cfg: Make, killed_after: Callable, tmp_path: Path
) -> None:
    cfg = make_cfg(auto_resume__enabled=True, limit_train_batches=1, limit_val_batches=0)
    with pytest.raises(RuntimeError, match="killed"):
        pretrain(cfg, callbacks=[killed_after(2)])
    (checkpoint,) = (tmp_path / "runs").glob("*/*/last.ckpt")
    saved = torch.load(checkpoint, weights_only=True)
    # As if the first part had taken a thousand seconds.
    saved["callbacks"]["RunFolder"]["seconds"] += 1000
    torch.save(saved, checkpoint)
    result = pretrain(cfg)
    summary = json.loads((result.folder / "summary.json").read_text())
    # A part of one step takes seconds, not hundreds of them, on any machine.
    assert 1000 < summary["seconds"] < 1500
    assert summary["versions"] == versions()
    assert summary["commit"] is None or re.fullmatch(r"[0-9a-f]{40}(-dirty)?", summary["commit"])
    again = pretrain(cfg)
    assert again.folder == result.folder
    assert all(isinstance(value, float | int) for value in again.metrics.values())
