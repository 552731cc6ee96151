# SPDX-License-Identifier: MIT
"""What a path to a pretrained run may mean, and what is said when it means none."""

from pathlib import Path
from typing import Any

import pytest

from solo_plugins.errors import ConfigurationError
from solo_plugins.runs.folder import RunFolder, RunState
from solo_plugins.runs.pretrained import find_pretrained


@pytest.mark.parametrize("path", [None, "None"])
def test_a_path_that_was_not_given_is_asked_for(path: Any) -> None:
    with pytest.raises(
        ConfigurationError, match=r"^Expected `saved` to be a checkpoint or a run's folder\.$"
    ):
        find_pretrained(path, key="saved")


@pytest.mark.parametrize("path", [3, b"runs/last.ckpt", ["runs"]], ids=repr)
def test_what_is_no_path_is_refused(path: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^Expected `saved` to be the path .* but got "):
        find_pretrained(path, key="saved")


_MANY = [f"{number:02}" for number in range(22)]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([], "nothing."),
        (["a"], "a."),
        (["c", "a", "b"], "a, b, c."),
        (_MANY[:20], ", 18, 19."),
        (_MANY[:21], ", 18, 19, 1 more."),
        (_MANY[:22], ", 18, 19, 2 more."),
    ],
)
def test_a_folder_without_a_checkpoint_is_listed(
    names: list[str], said: str, tmp_path: Path
) -> None:
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(ConfigurationError, match="with a checkpoint but") as refused:
        find_pretrained(tmp_path)
    assert str(refused.value).endswith(said if len(names) > 3 else f"holds {said}")


def test_the_newest_run_below_is_guessed_and_nothing_where_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "method" / "run").mkdir(parents=True)
    with pytest.raises(ConfigurationError) as refused:
        find_pretrained(tmp_path)
    assert str(refused.value).endswith("holds method (no file).")
    checkpoint = tmp_path / "method" / "run" / "last.ckpt"
    checkpoint.touch()
    with pytest.raises(ConfigurationError) as refused:
        find_pretrained(tmp_path)
    assert str(refused.value).endswith(f" Did you mean {str(checkpoint.parent)!r}?")


@pytest.mark.parametrize("left", ["previous", "best"])
def test_a_finished_run_without_its_last_checkpoint_does_not_stand_on_another(
    left: str, tmp_path: Path
) -> None:
    folder = RunFolder(tmp_path)
    (tmp_path / f"{left}.ckpt").touch()
    folder.write_summary({"epochs": 3, "steps": 9})
    folder.write_state(RunState(status="interrupted", epochs=2, steps=6))
    assert find_pretrained(tmp_path).checkpoint.stem == left
    folder.write_state(RunState(status="finished", epochs=3, steps=9))
    with pytest.raises(ConfigurationError, match=rf"with its last.ckpt but .* {left}\.ckpt"):
        find_pretrained(tmp_path)
    assert find_pretrained(tmp_path / f"{left}.ckpt").checkpoint.stem == left
    folder.last_checkpoint.touch()
    assert find_pretrained(tmp_path).checkpoint == folder.last_checkpoint


def test_a_checkpoint_alone_has_no_configuration(tmp_path: Path) -> None:
    checkpoint = tmp_path / "weights.ckpt"
    checkpoint.touch()
    found = find_pretrained(checkpoint)
    assert (found.checkpoint, found.cfg, found.source) == (checkpoint, None, None)
    assert found.folder.path == tmp_path
