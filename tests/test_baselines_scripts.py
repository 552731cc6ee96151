# SPDX-License-Identifier: MIT
"""The baselines' YAMLs: fair, from solo-learn's own numbers, and training."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from solo_plugins.framework import METHODS
from solo_plugins.training.pretrain import pretrain

FOLDERS = {"cifar": "cifar100", "digits": "digits", "imagenet-100": "imagenet100"}
BASELINES = (
    *("barlow_twins", "byol", "dino", "lejepa", "lpjepa", "mocov2plus"),
    *("ncl", "nvicreg", "simclr", "simsiam", "swav", "vicreg", "visreg"),
)
SHARED = (
    *("data", "augmentations", "scheduler", "max_epochs", "knn_eval", "precision"),
    *("backbone", "checkpoint", "sync_batchnorm", "devices", "strategy"),
)

# solo-learn main, scripts/pretrain/cifar and imagenet-100: optimizer, rate at batch 256, the
# classifier's, decay
SOLO = {
    ("barlow_twins", "cifar"): ("lars", 0.3, 0.1, 1e-4),
    ("barlow_twins", "imagenet-100"): ("lars", 0.3, 0.1, 1e-4),
    ("byol", "cifar"): ("lars", 1.0, 0.1, 1e-5),
    ("byol", "imagenet-100"): ("lars", 0.5, 0.1, 1e-6),
    ("dino", "cifar"): ("lars", 0.3, 0.1, 1e-6),
    ("dino", "imagenet-100"): ("lars", 0.3, 0.1, 1e-6),
    ("mocov2plus", "cifar"): ("sgd", 0.3, 0.3, 1e-4),
    ("mocov2plus", "imagenet-100"): ("sgd", 0.3, 0.3, 1e-4),
    ("simclr", "cifar"): ("lars", 0.4, 0.1, 1e-4),
    ("simclr", "imagenet-100"): ("lars", 0.3, 0.1, 1e-4),
    ("simsiam", "cifar"): ("sgd", 0.5, 0.1, 1e-5),
    ("simsiam", "imagenet-100"): ("sgd", 0.5, 0.1, 1e-5),
    ("swav", "cifar"): ("lars", 0.6, 0.1, 1e-6),
    ("swav", "imagenet-100"): ("lars", 0.6, 0.1, 1e-6),
    ("vicreg", "cifar"): ("lars", 0.3, 0.1, 1e-4),
    ("vicreg", "imagenet-100"): ("lars", 0.3, 0.1, 1e-4),
}
over_baselines = pytest.mark.parametrize("method", BASELINES)


@pytest.fixture(scope="module")
def composed(root: Path) -> Callable[..., DictConfig]:
    """Return a function that composes a method's YAML of a folder as hydra does, once each."""

    @functools.cache
    def make(folder: str, method: str, *overrides: str) -> DictConfig:
        path = root / "scripts" / "pretrain" / folder
        ours = method == "rectified_lpjepa" and folder == "imagenet-100"
        name = "rectified_lpjepa_imagenet" if ours else f"{method}_{FOLDERS[folder]}"
        with initialize_config_dir(str(path), version_base="1.2"):
            return compose(name, overrides=list(overrides))

    return make


def _shared(cfg: DictConfig) -> dict[str, Any]:
    plain: Any = OmegaConf.to_container(cfg, resolve=True)
    return {key: plain[key] for key in SHARED}


@pytest.mark.parametrize("folder", FOLDERS)
@over_baselines
def test_a_baseline_differs_from_ours_only_where_the_method_does(
    method: str, folder: str, composed: Callable
) -> None:
    ours, theirs = composed(folder, "rectified_lpjepa"), composed(folder, method)
    assert _shared(theirs) == _shared(ours)
    assert theirs.optimizer.batch_size == ours.optimizer.batch_size
    assert theirs.method == method


@over_baselines
def test_all_baselines_have_the_same_optimizer_on_digits(method: str, composed: Callable) -> None:
    assert composed("digits", method).optimizer == composed("digits", "vicreg").optimizer


@pytest.mark.parametrize(("method", "folder"), SOLO)
def test_rates_are_solo_learns(method: str, folder: str, composed: Callable) -> None:
    got = composed(folder, method).optimizer
    assert (got.name, got.lr, got.classifier_lr, got.weight_decay) == SOLO[method, folder]


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("method", ["mocov2plus", "swav"])
def test_a_queue_is_a_multiple_of_the_batch(method: str, folder: str, composed: Callable) -> None:
    cfg = composed(folder, method)
    assert cfg.method_kwargs.queue_size % cfg.optimizer.batch_size == 0


@pytest.mark.usefixtures("methods", "lightning_quiet")
@over_baselines
def test_a_baseline_trains_and_validates_on_digits(
    method: str, composed: Callable, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    changes = {
        "max_epochs": 1,
        "limit_train_batches": 2,
        "limit_val_batches": 1,
        "num_sanity_val_steps": 0,
        "checkpoint.enabled": False,
        "checkpoint.dir": tmp_path,
        "data.num_workers": 0,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    cfg = composed("digits", method, *(f"++{key}={value}" for key, value in changes.items()))
    metrics = pretrain(cfg).metrics
    assert {"train_class_loss_epoch", "val_acc1", "val_knn_acc1"} <= set(metrics)
    sparse = hasattr(METHODS[method], "target_l0")
    assert ("val_l0_sparsity_metric" in metrics) is sparse
    assert ("val_target_l0" in metrics) is (method == "lpjepa")
    assert capsys.readouterr().out.count("(the target has") == (method == "lpjepa")
