# SPDX-License-Identifier: MIT
"""Pretraining runs as they lie in a folder, without the training."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf


@pytest.fixture
def linear_cfg(tmp_path: Path) -> Callable[..., DictConfig]:
    """Return a function that makes a small linear evaluation, with changes by dotted key."""

    def make(run: Path | str | None, **changes: Any) -> DictConfig:
        cfg = OmegaConf.create(
            {
                "name": "probe",
                "pretrained_feature_extractor": None if run is None else str(run),
                "data": {"num_workers": 0},
                "optimizer": {"name": "sgd", "batch_size": 32, "lr": 0.3, "weight_decay": 0.0},
                "scheduler": {"name": "step", "lr_decay_steps": [1]},
                "checkpoint": {"enabled": True, "dir": str(tmp_path / "runs")},
                "accelerator": "cpu",
                "max_epochs": 2,
                "limit_train_batches": 2,
                "num_sanity_val_steps": 0,
                "log_every_n_steps": 1,
                "enable_progress_bar": False,
                "enable_model_summary": False,
            }
        )
        for key, value in changes.items():
            OmegaConf.update(cfg, key.replace("__", "."), value, force_add=True)
        return cfg

    return make


@pytest.fixture
def knn_cfg() -> Callable[..., DictConfig]:
    """Return a function that makes a small nearest-neighbour evaluation."""

    def make(run: Path | str | None, **changes: Any) -> DictConfig:
        given = {
            "pretrained_feature_extractor": None if run is None else str(run),
            "data": {"num_workers": 0},
            "accelerator": "cpu",
            "k": [1, 20],
        }
        return OmegaConf.create({**given, **changes})

    return make
