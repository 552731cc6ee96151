# SPDX-License-Identifier: MIT
"""What a path to a pretrained run may mean, and what is said when it means none."""

import os
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

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


def test_a_runs_configuration_is_found_beside_its_checkpoint_or_beside_a_links_file(
    tmp_path: Path,
) -> None:
    run, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    run.mkdir()
    elsewhere.mkdir()
    (run / "last.ckpt").touch()
    (run / "config.yaml").write_text(
        "{method: byol, backbone: {name: resnet18}, augmentations: [{num_crops: 2}],"
        " data: {dataset: digits, num_classes: 10}}"
    )
    link = elsewhere / "link.ckpt"
    link.symlink_to(run / "last.ckpt")
    for path in (run, run / "last.ckpt", link):
        found = find_pretrained(path)
        assert (found.checkpoint, found.source) == (run / "last.ckpt", run / "config.yaml")
        assert found.cfg is not None
        assert found.cfg.method == "byol"
    (elsewhere / "config.yaml").write_text(
        (run / "config.yaml").read_text().replace("byol", "dino")
    )
    found = find_pretrained(link)
    assert (found.checkpoint, found.source) == (link, elsewhere / "config.yaml")
    assert found.cfg is not None
    assert found.cfg.method == "dino"


@pytest.mark.parametrize("key", ["method", "backbone.name", "data.dataset", "data.num_classes"])
def test_what_a_configuration_lacks_is_named(key: str, tmp_path: Path) -> None:
    (tmp_path / "last.ckpt").touch()
    cfg = OmegaConf.create(
        {
            "method": "byol",
            "backbone": {"name": "resnet18"},
            "augmentations": [{"num_crops": 2}],
            "data": {"dataset": "digits", "num_classes": 10},
        }
    )
    OmegaConf.update(cfg, key, None)
    OmegaConf.save(cfg, tmp_path / "config.yaml")
    with pytest.raises(ConfigurationError, match=rf"pretraining run but it has no `{key}`\.$"):
        find_pretrained(tmp_path)


@pytest.mark.parametrize("newest", ["a", "b", "c"])
def test_of_several_runs_the_newest_is_guessed(newest: str, tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        checkpoint = tmp_path / "method" / name / "last.ckpt"
        checkpoint.parent.mkdir(parents=True)
        checkpoint.touch()
        os.utime(checkpoint, (1e9, 1e9 + (name == newest)))
    for folder in (tmp_path, tmp_path / "method"):
        with pytest.raises(ConfigurationError) as refused:
            find_pretrained(folder)
        assert str(refused.value).endswith(f" Did you mean '{tmp_path}/method/{newest}'?")


def test_a_path_that_is_not_there_is_named_with_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "vicreg").mkdir()
    with pytest.raises(ConfigurationError) as refused:
        find_pretrained(tmp_path / "vicrge", key="saved")
    said = "Expected `saved` to be a checkpoint or a run's folder that exists but got "
    assert str(refused.value).startswith(f"{said}'{tmp_path}/vicrge'.")
    assert "vicreg" in str(refused.value)
