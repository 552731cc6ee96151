# SPDX-License-Identifier: MIT
"""Nearest neighbours against scikit-learn's, and what is written."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from solo_plugins.errors import ConfigurationError
from solo_plugins.evaluation.knn import KNNSettings, classify, knn

TRAIN = 1200
K = [1, 5, 20]
TEMPERATURES = [0.07, 0.5]


@pytest.mark.parametrize("max_distances", [5_000_000, 7 * TRAIN], ids=["whole", "chunks"])
def test_every_combination_is_scikit_learns(
    max_distances: int, digit_pixels: tuple, scikit_learns_knn: Callable
) -> None:
    rows = classify(
        *digit_pixels, KNNSettings(K, TEMPERATURES, ["cosine", "euclidean"], max_distances)
    )
    assert len(rows) == len(K) * (len(TEMPERATURES) + 1)
    wanted = {row: scikit_learns_knn(row.k, row.temperature, row.distance) for row in rows}
    # one of the 597 may fall either way: equal distances of whole numbers, float32 against float64
    differences = [abs(row.acc1 - accuracy) for row, accuracy in wanted.items()]
    assert max(differences) <= 100 / 597 + 1e-6
    assert sum(difference > 1e-6 for difference in differences) <= 2


def test_one_neighbour_has_no_first_five_but_the_first(digit_pixels: tuple) -> None:
    (row,) = classify(*digit_pixels, KNNSettings([1], [0.1], ["cosine"]))
    assert row.acc1 == row.acc5


class _Distances(TorchFunctionMode):
    """Keeps the shape of everything that torch computes with a column for each training image."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[torch.Size] = []

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if isinstance(out, Tensor) and out.shape[1:] == (TRAIN,) and out.shape[0] != 64:  # pixels
            self.shapes.append(out.shape)
        return out


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
@pytest.mark.parametrize(("rows", "chunks"), [(100, 6), (250, 3)])
def test_no_more_distances_are_held_than_allowed(
    rows: int, chunks: int, distance: str, digit_pixels: tuple
) -> None:
    settings = KNNSettings(K, TEMPERATURES, [distance], rows * TRAIN)
    with _Distances() as held:
        classify(*digit_pixels, settings)
    assert max(shape.numel() for shape in held.shapes) <= rows * TRAIN
    # once for all k and temperatures
    assert len(held.shapes) == chunks


@pytest.mark.parametrize(
    ("method", "target"), [("rectified_lpjepa", 0.5), ("vicreg", None), ("dino", None)]
)
def test_a_run_of_any_method_gets_a_result(
    method: str, target: float | None, make_run: Callable, knn_cfg: Callable
) -> None:
    widths = {"proj_hidden_dim": 16, "proj_output_dim": 8}
    kwargs = {"method_kwargs": {**widths, "num_prototypes": 12}} if method == "dino" else {}
    if method == "vicreg":
        kwargs = {"method_kwargs": widths}
    run = make_run(method, **kwargs)
    result = knn(knn_cfg(run))
    written = json.loads((run / "knn.json").read_text())
    described = {"data", "transform", "checkpoint", "commit"}
    assert written.keys() == {"results", "features", "outputs", *described}
    assert len(result["results"]) == 2 * (2 + 2)
    assert result["results"][0].keys() == {
        "features", "k", "temperature", "distance", "acc1", "acc5",
    }  # fmt: skip
    assert result["outputs"]["num_samples"] == 360
    assert result["outputs"]["target_l0"] == target
    assert (result["outputs"]["marginal_distance"] is None) == (target is None)
    for part in ("features", "outputs"):
        assert 1 <= result[part]["effective_rank"] <= result[part]["dim"]
    assert 0 < result["outputs"]["nhsic"] <= 1


def test_a_k_above_the_number_of_images_is_left_out_and_said(
    make_run: Callable, knn_cfg: Callable, capsys: pytest.CaptureFixture
) -> None:
    cfg = knn_cfg(make_run(), k=[1, 1437, 1438, 5000], features="backbone", distance="cosine")
    assert [row["k"] for row in knn(cfg)["results"]] == [1, 1437]
    assert "There are 1437 training images: k = 1438, 5000 is left out." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"k": [0]}, r"`k\[0\]` to be a positive integer but got 0"),
        ({"k": 2000}, r"`k` to hold a number up to .* images, 1437, but got \[2000\]"),
        ({"k": [2000, 1500]}, r"`k` to hold .* 1437, but got \[2000, 1500\]"),
        ({"temperature": [-0.1]}, r"`temperature\[0\]` to be a positive number but got -0.1"),
        ({"distance": ["cosin"]}, r"`distance\[0\]` to be one of .* Did you mean `cosine`"),
        ({"features": []}, r"`features` to be a list of at least one value but got \[\]"),
        ({"features": "head"}, r"`features` to be one of backbone, projector"),
        ({"temperatures": [1.0]}, r"`temperatures`. Did you mean `temperature`"),
        ({"precision": "16-mixed"}, r"only known settings but got `precision`"),
        ({"max_distances": 0}, r"`max_distances` to be a positive integer but got 0"),
        ({"accelerator": "tpu"}, r"`accelerator` to be one of auto"),
    ],
    ids=str,
)
def test_a_wrong_setting_is_named_and_nothing_written(
    changes: dict, match: str, make_run: Callable, knn_cfg: Callable
) -> None:
    run = make_run()
    with pytest.raises(ConfigurationError, match=match):
        knn(knn_cfg(run, **changes))
    assert sorted(path.name for path in run.iterdir()) == ["config.yaml", "last.ckpt"]
