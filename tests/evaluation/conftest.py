# SPDX-License-Identifier: MIT
"""Pretraining runs as they lie in a folder, without the training."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from solo_plugins.args.pretrain import parse_cfg


@pytest.fixture
def make_run(
    make_cfg: Callable[..., DictConfig], methods: dict, augmentation: Callable, tmp_path: Path
) -> Callable[..., Path]:
    """Return a function that leaves a run's folder as ``main_pretrain.py`` does."""

    def make(method: str = "rectified_lpjepa", name: str = "run", **changes: Any) -> Path:
        changes = {"augmentations": [augmentation(crop_size=16)], **changes}
        cfg, _ = parse_cfg(make_cfg(method, **changes))
        torch.manual_seed(0)
        model = methods[cfg.method](cfg.copy())
        folder = tmp_path / "runs" / method / name
        folder.mkdir(parents=True)
        torch.save({"state_dict": model.state_dict()}, folder / "last.ckpt")
        OmegaConf.save(cfg, folder / "config.yaml")
        return folder

    return make


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
                "limit_val_batches": 2,
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
