# SPDX-License-Identifier: MIT
"""A folder that cannot be written to is refused in one line, before the work."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from solo_plugins.errors import ConfigurationError
from solo_plugins.runs.writable import check_writable
from solo_plugins.training.sweep import one_line_errors

pytestmark = pytest.mark.usefixtures("methods")


def _works(*_: Any, **__: Any) -> None:
    raise AssertionError("the work began")


@pytest.fixture
def read_only(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Return a function that makes a folder read-only for root too, who is asked by nobody."""

    def make(folder: Path) -> None:
        given = Path.open

        def refuse(self: Path, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
            if {*mode} & {*"wxa+"} and folder in self.parents:
                raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(self))
            return given(self, mode, *args, **kwargs)

        monkeypatch.setattr(Path, "open", refuse)

    return make


@pytest.mark.parametrize("folder", [".", "new", "new/and/deeper"])
def test_what_can_be_made_passes_and_nothing_is_left(folder: str, tmp_path: Path) -> None:
    check_writable(tmp_path / folder, "out")
    assert not list(tmp_path.iterdir())


def test_a_folder_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match=r"`out` to be .* 'file/x'|Not a directory"):
        check_writable(tmp_path / "file" / "x", "out")


def test_a_read_only_folder_is_refused(tmp_path: Path, read_only: Callable) -> None:
    read_only(tmp_path)
    with pytest.raises(ConfigurationError, match=r"`out` to be .*: Read-only file system: '.*part"):
        check_writable(tmp_path / "new", "out")


def test_a_full_disk_is_refused_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: int) -> None:
        assert os.fstat(file).st_size >= 2**16  # what takes no room is taken by a full disk, too
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigurationError, match=r"`out` to be .*: No space left on device\."):
        check_writable(tmp_path, "out")
    assert not list(tmp_path.iterdir())


def test_pretraining_asks_before_it_builds(
    make_cfg: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from solo_plugins.training import pretrain

    monkeypatch.setattr(pretrain, "seed_everything", _works)
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match=r"`checkpoint.dir` to be .*: Not a directory"):
        pretrain.pretrain(make_cfg(checkpoint__dir=str(tmp_path / "file" / "runs")))


@pytest.mark.parametrize("name", ["linear", "knn"])
def test_an_evaluation_asks_for_the_runs_folder_before_the_work(
    name: str, make_run: Callable, read_only: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    from omegaconf import OmegaConf

    from solo_plugins.evaluation import knn, linear

    module: Any = {"linear": linear, "knn": knn}[name]
    monkeypatch.setattr(module, "build", _works)
    run = make_run()
    cfg: dict[str, Any] = {"pretrained_feature_extractor": str(run), "accelerator": "cpu"}
    if name == "linear":
        optimizer = {"name": "sgd", "batch_size": 32, "lr": 0.3, "weight_decay": 0.0}
        cfg |= {"name": "probe", "optimizer": optimizer, "max_epochs": 1}
        cfg["scheduler"] = {"name": "none"}
    read_only(run)
    message = r"`pretrained_feature_extractor` to be .*: Read-only file system"
    with pytest.raises(ConfigurationError, match=message):
        getattr(module, name)(OmegaConf.create(cfg))


@pytest.mark.parametrize("name", ["report", "export", "embed"])
def test_other_programs_ask_before_the_work(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from solo_plugins.inference import embed, export
    from solo_plugins.report import document

    module: Any = {"report": document, "export": export, "embed": embed}[name]
    monkeypatch.setattr(module, "_read" if name == "report" else "load", _works)
    monkeypatch.setattr(document, "search", lambda _: ([], []))
    (tmp_path / "file").write_text("")
    write = module.write_report if name == "report" else getattr(module, name)
    with pytest.raises(ConfigurationError, match=r"`out` to be .*: Not a directory"):
        write([tmp_path] if name == "report" else tmp_path, tmp_path / "file" / "out")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "x.ckpt"), "error: No space.*: 'x.ckpt'"),
        (OSError("one\ntwo"), "error: one two$"),
        (TimeoutError(), "error: TimeoutError$"),
    ],
    ids=["full", "two lines", "no text"],
)
def test_whatever_the_system_refuses_ends_a_program_with_one_line(
    error: OSError, line: str
) -> None:
    with pytest.raises(SystemExit, match=line), one_line_errors():
        raise error
