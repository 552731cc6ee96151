# SPDX-License-Identifier: MIT
"""Evaluations that read their images by DALI."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from solo_plugins.data import Digits
from solo_plugins.evaluation.knn import knn
from solo_plugins.evaluation.linear import linear

pytest.importorskip("nvidia.dali")
pytestmark = pytest.mark.usefixtures("methods", "lightning_quiet")


def _write(folder: Path) -> str:
    """Write 96 digits into class folders."""
    digits = Digits(train=False)
    for index in range(96):
        image, target = digits[index]
        (folder / f"{target}").mkdir(parents=True, exist_ok=True)
        image.resize((32, 32)).save(folder / f"{target}" / f"{index}.png")
    return str(folder)


@pytest.mark.parametrize("cache", [False, True])
def test_folders_by_dali_train_classifiers_and_neighbours(
    cache: bool, make_run: Callable, linear_cfg: Callable, knn_cfg: Callable, tmp_path: Path
) -> None:
    root = _write(tmp_path / "images")
    data: dict[str, Any] = {"dataset": "custom", "train_path": root, "val_path": root}
    run = make_run(data={**data, "num_workers": 0})
    by_dali = {"num_workers": 0, "format": "dali"}
    result = linear(linear_cfg(run, data=by_dali, cache_features=cache, limit_val_batches=None))
    assert 0 <= result.acc1 <= 100
    found, wanted = (
        knn(knn_cfg(run, data={"num_workers": 0, "format": name}, k=[1], features=["backbone"]))
        for name in ("dali", "image_folder")
    )
    # the validation images are those of training: each is its own neighbour
    assert [row["acc1"] for row in found["results"]] == [100.0, 100.0]
    assert [row["acc1"] for row in wanted["results"]] == [100.0, 100.0]
