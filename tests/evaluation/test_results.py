# SPDX-License-Identifier: MIT
"""A result belongs to its data: each data set has a file of its own, which says what it is on."""

import json
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig, OmegaConf
from PIL import Image

from solo_plugins.evaluation.knn import knn
from solo_plugins.evaluation.linear import linear
from solo_plugins.evaluation.results import checkpoint_line, result_path
from solo_plugins.report.read import read_run
from solo_plugins.runs.folder import RunFolder, RunState
from solo_plugins.runs.pretrained import Pretrained

Make = Callable[..., Any]


def _data(**changes: Any) -> dict[str, Any]:
    own = {"dataset": "custom", "train_path": "a", "val_path": "b"}
    return {**own, "train_fingerprint": "1", "val_fingerprint": "2", **changes}


@pytest.mark.parametrize(
    ("run", "evaluation", "own"),
    [
        (_data(), _data(), True),
        (_data(), _data(train_path="moved", val_path="too"), True),
        (_data(), _data(train_fingerprint="3"), False),
        (_data(), _data(val_fingerprint="3"), False),
        (_data(val_fingerprint=None), _data(), False),
        ({"dataset": "custom", "train_path": "a", "val_path": "b"}, _data(), True),
        ({"dataset": "custom", "train_path": "c", "val_path": "b"}, _data(), False),
        ({"dataset": "digits"}, {"dataset": "digits", "train_fingerprint": None}, True),
        ({"dataset": "cifar10"}, {"dataset": "cifar100", "train_fingerprint": None}, False),
        (None, {"dataset": "digits"}, False),
    ],
    ids=[
        "same", "moved", "train", "val", "no-val", "old", "old-other", "digits", "cifar", "unknown",
    ],
)  # fmt: skip
def test_other_data_are_named(
    run: dict | None, evaluation: dict, own: bool, tmp_path: Path
) -> None:
    cfg = None if run is None else OmegaConf.create({"data": run})
    pretrained = Pretrained(tmp_path / "last.ckpt", cfg, None)
    asked = OmegaConf.create({"data": evaluation, "augmentations": [{"crop_size": 8}]})
    path = result_path(pretrained, asked, "linear", "backbone")
    assert (path.name == "linear-backbone.json") is own
    assert path.name.startswith("linear-backbone")
    assert (evaluation["dataset"] in path.name) != own


_VIEW = {"crop_size": 32, "mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2]}


@pytest.mark.parametrize(
    ("view", "settings", "checkpoint", "name"),
    [
        ({}, {}, "last", "knn.json"),
        ({}, {"limit_val_batches": 1.0}, "last", "knn.json"),
        ({"crop_size": 12}, {}, "last", "knn@digits-crop-12.json"),
        ({"mean": [0, 0, 0]}, {}, "last", "knn@digits-transform-*.json"),
        ({"mean": None, "std": None}, {}, "last", "knn@digits-transform-*.json"),
        ({"crop_size": 12, "std": [1, 1, 1]}, {}, "last", "knn@digits-transform-*.json"),
        ({}, {"limit_val_batches": 2}, "last", "knn@digits-val-2.json"),
        ({}, {"limit_val_batches": 1}, "last", "knn@digits-val-1.json"),
        ({}, {"limit_val_batches": 0.5}, "last", "knn@digits-val-0.5.json"),
        ({}, {}, "best", "knn@digits-best.json"),
        ({"crop_size": 12}, {}, "a-ep=0", "knn@digits-crop-12-a-ep=0.json"),
    ],
)
def test_what_is_not_the_runs_own_result_is_named(
    view: dict, settings: dict, checkpoint: str, name: str, tmp_path: Path
) -> None:
    for file in ("last", "best", "a-ep=0"):
        (tmp_path / f"{file}.ckpt").touch()
    run = OmegaConf.create({"data": {"dataset": "digits"}, "augmentations": [_VIEW]})
    given = {"data": {"dataset": "digits"}, "augmentations": [{**_VIEW, **view}], **settings}
    pretrained = Pretrained(tmp_path / f"{checkpoint}.ckpt", run, None)
    path = result_path(pretrained, OmegaConf.create(given), "knn")
    assert fnmatch(path.name, name)
    assert path.parent == tmp_path


def _finished(run: Path, step: int) -> None:
    """Let a run have ended at a step, in its checkpoint and in what it says of itself."""
    checkpoint = torch.load(run / "last.ckpt", weights_only=True)
    torch.save({**checkpoint, "global_step": step}, run / "last.ckpt")
    RunFolder(run).write_summary({"epochs": 2, "steps": step})
    RunFolder(run).write_state(RunState("finished", epochs=2, steps=step))


@pytest.mark.usefixtures("methods", "lightning_quiet")
def test_fewer_settings_leave_the_rows_of_the_others(make_run: Make, knn_cfg: Make) -> None:
    run = make_run()
    whole = knn(knn_cfg(run))["results"]
    knn(knn_cfg(run, k=[5], distance=["cosine"], features=["backbone"]))
    written = json.loads((run / "knn.json").read_text())
    assert written["results"][: len(whole)] == whole
    assert [row["k"] for row in written["results"][len(whole) :]] == [5]
    assert "outputs" in written
    # once the checkpoint is another nothing of that holds any more
    _finished(run, 9)
    knn(knn_cfg(run, k=[5], distance=["cosine"], features=["backbone", "backbone"]))
    written = json.loads((run / "knn.json").read_text())
    assert [row["k"] for row in written["results"]] == [5]
    assert "outputs" not in written
    assert written["checkpoint"] == {"file": "last.ckpt", "step": 9}
    (run / "knn.json").write_text('{"results": 3}')
    knn(knn_cfg(run, k=[5], distance=["cosine"]))
    assert len(json.loads((run / "knn.json").read_text())["results"]) == 2


@pytest.mark.usefixtures("methods", "lightning_quiet")
def test_a_result_of_an_earlier_step_is_not_shown_as_the_runs(
    make_run: Make, knn_cfg: Make, linear_cfg: Make
) -> None:
    run = make_run()
    _finished(run, 4)
    knn(knn_cfg(run, k=[20], distance=["cosine"]))
    linear(linear_cfg(run, max_epochs=1))
    assert {"knn_backbone", "linear_backbone"} <= read_run(run).numbers.keys()
    _finished(run, 9)
    read = read_run(run)
    assert not {"knn_backbone", "linear_backbone"} & read.numbers.keys()
    reasons = {Path(note[0]).name: note.reason for note in read.unreadable}
    assert reasons.keys() == {"knn.json", "linear-backbone.json"}
    assert "at step 4 of the run, which went on to step 9" in reasons["knn.json"]


@pytest.mark.usefixtures("methods", "lightning_quiet")
@pytest.mark.parametrize("trial", [True, False], ids=["trial", "stopped"])
def test_a_probe_that_has_not_done_its_last_epoch_leaves_the_result_alone(
    trial: bool, make_run: Make, linear_cfg: Make, capsys: pytest.CaptureFixture
) -> None:
    run = make_run()
    whole = linear(linear_cfg(run, max_epochs=1))
    before = whole.path.read_bytes()

    class Stop(Callback):
        def on_train_epoch_end(self, trainer: Any, *_: Any) -> None:
            trainer.should_stop = True  # as at the end of `max_time`

    limit = {"fast_dev_run": True} if trial else {}
    cfg = linear_cfg(run, max_epochs=3, check_val_every_n_epoch=1, **limit)
    linear(cfg, callbacks=[] if trial else [Stop()])
    assert whole.path.read_bytes() == before
    assert "No result is written to linear-backbone.json" in capsys.readouterr().out


@pytest.mark.usefixtures("methods", "lightning_quiet")
def test_a_result_on_other_data_leaves_the_runs_own_alone(
    make_run: Make, knn_cfg: Callable[..., DictConfig], tmp_path: Path
) -> None:
    run = make_run()
    folder = RunFolder(run)
    folder.write_summary({"epochs": 2})
    folder.write_state(RunState("finished"))
    knn(knn_cfg(run, k=[20], distance=["cosine"]))
    own = (run / "knn.json").read_bytes()
    rng = np.random.default_rng(0)
    for label in ("a", "b"):
        (tmp_path / "images" / label).mkdir(parents=True)
        for index in range(12):
            pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / label / f"{index}.png")
    paths = dict.fromkeys(("train_path", "val_path"), str(tmp_path / "images"))
    data = {"dataset": "custom", "num_workers": 0, **paths}
    knn(knn_cfg(run, k=[20], distance=["cosine"], data=data))
    (other,) = run.glob("knn@custom-*.json")
    assert (run / "knn.json").read_bytes() == own
    written = json.loads(other.read_text())
    assert written["data"]["train_path"] == str(tmp_path / "images")
    read = read_run(run)
    accuracies = {row["features"]: row["acc1"] for row in json.loads(own)["results"]}
    assert read.numbers["knn_backbone"].value == accuracies["backbone"]
    assert {found.data for found in read.elsewhere} == {other.stem.partition("@")[2]}
    assert [found.acc1 for found in read.elsewhere] == [row["acc1"] for row in written["results"]]


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (None, ""),
        ("finished", ""),
        ("interrupted", ", of a run that is interrupted"),
        ("stopped", ", of a run that is stopped"),
    ],
)
def test_an_evaluation_says_that_its_run_is_not_finished(
    status: str | None, said: str, tmp_path: Path
) -> None:
    if status is not None:
        RunFolder(tmp_path).write_state(RunState(status=status, epochs=1, steps=2))
    checkpoint = tmp_path / "last.ckpt"
    assert checkpoint_line(Pretrained(checkpoint, None, None)) == f"Checkpoint: {checkpoint}{said}"
