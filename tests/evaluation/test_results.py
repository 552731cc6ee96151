# SPDX-License-Identifier: MIT
"""A result belongs to its data: each data set has a file of its own, which says what it is on."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import DictConfig, OmegaConf
from PIL import Image

from solo_plugins.evaluation.knn import knn
from solo_plugins.evaluation.results import result_path
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
    path = result_path(pretrained, OmegaConf.create({"data": evaluation}), "linear", "backbone")
    assert (path.name == "linear-backbone.json") is own
    assert path.name.startswith("linear-backbone")
    assert (evaluation["dataset"] in path.name) != own


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
