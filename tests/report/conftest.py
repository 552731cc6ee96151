# SPDX-License-Identifier: MIT
"""Run folders as training and evaluation leave them, without training anything."""

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

EPOCHS = 3


def _config(method: str, kwargs: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": method,
        "method": method,
        "seed": 5,
        "max_epochs": EPOCHS,
        "backbone": {"name": "timm/resnet10t"},
        "method_kwargs": kwargs,
        "data": {"dataset": "digits", "num_workers": 2},
        "optimizer": {"lr": 0.002},
        **changes,
    }


def write_run(folder: Path, method: str = "rectified_lpjepa", /, **values: Any) -> Path:
    """Write a run.

    Args:
        folder: to be made.
        method: its name.
        values: ``mu``, ``p``, ``config`` (changes), ``summary`` (changes), ``log`` (columns by
            name), ``linear`` and ``linear_projector`` (percent), ``knn`` (its content).
    """
    kwargs: dict[str, Any] = {"proj_hidden_dim": 256, "proj_output_dim": 256}
    if method == "rectified_lpjepa":
        kwargs |= {"mean_shift_value": values.get("mu", 0.0)}
        kwargs |= {"lp_norm_parameter": values.get("p", 1.0)}
    folder.mkdir(parents=True)
    config = _config(method, kwargs, values.get("config", {}))
    OmegaConf.save(OmegaConf.create(config), folder / "config.yaml")
    (folder / "last.ckpt").write_bytes(b"weights")
    summary = {
        "epochs": int(config["max_epochs"]),
        "steps": 66,
        "seconds": 90.0,
        "commit": "0123456789abcdef",
    }
    (folder / "summary.json").write_text(json.dumps(summary | values.get("summary", {})))
    log = values.get("log", {"val_acc1": [10.0, 20.0, 30.0]})
    with (folder / "metrics.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["epoch", "step", *log])
        for epoch, line in enumerate(zip(*log.values(), strict=True)):
            rows.writerow(["", 22 * epoch, *[""] * len(log)])  # the learning rate's own line
            rows.writerow([epoch, 22 * epoch, *line])
    for name, features in (("linear", "backbone"), ("linear_projector", "projector")):
        if name in values:
            content = {"features": features, "acc1": values[name], "acc5": 99.0, "finetune": False}
            (folder / f"linear-{features}.json").write_text(json.dumps(content))
    if "knn" in values:
        (folder / "knn.json").write_text(json.dumps(values["knn"]))
    return folder


def knn_content(acc1: float, l0: float, projector: float | None = None) -> dict[str, Any]:
    """Return a ``knn.json`` with an exponential histogram."""
    edges = [0.1 * i for i in range(41)]
    counts = [round(1e5 * l0 * (math.exp(-1.41 * a) - math.exp(-1.41 * (a + 0.1)))) for a in edges]
    setting = {"k": 20, "temperature": 0.07, "distance": "cosine", "acc5": 99.0}
    other = {"k": 5, "temperature": 0.07, "distance": "cosine", "acc5": 99.0, "acc1": 1.0}
    results = [
        {"features": "backbone", **other},
        {"features": "backbone", **setting, "acc1": acc1},
        {"features": "projector", **setting, "acc1": acc1 - 2 if projector is None else projector},
    ]
    outputs = {
        "num_samples": 360,
        "dim": 256,
        "l0": l0,
        "l1": 0.6 * l0,
        "dead_outputs": 0.0,
        "all_zero_rows": 0.0,
        "target_l0": None,
        "histogram": {"edges": edges, "counts": counts[:-1]},
    }
    return {"results": results, "outputs": outputs, "commit": None}


@pytest.fixture(scope="module")
def run_in() -> Callable[..., Path]:
    """Return :func:`write_run`."""
    return write_run


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Path]:
    """Return :func:`write_run` for folders below ``runs``."""
    return lambda name, *args, **values: write_run(tmp_path / "runs" / name, *args, **values)


@pytest.fixture
def knn() -> Callable[..., dict[str, Any]]:
    """Return :func:`knn_content`."""
    return knn_content
