# SPDX-License-Identifier: MIT
"""A classifier on cached features against one whose network runs every epoch."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from torch import Tensor, nn

from solo_plugins.args.evaluation import parse_linear_cfg
from solo_plugins.data import LabelledDataModule
from solo_plugins.evaluation.cached import FeatureDataModule
from solo_plugins.evaluation.linear import LinearResult, linear

Make = Callable[..., Any]
pytestmark = pytest.mark.usefixtures("methods", "lightning_quiet")


def _classifier(result: LinearResult) -> dict[str, Any]:
    return torch.load(result.folder / "last.ckpt", weights_only=True)["state_dict"]


@pytest.mark.parametrize("features", ["backbone", "projector"])
def test_cached_features_give_the_classifier_of_a_network_that_runs_every_epoch(
    features: str, make_run: Make, linear_cfg: Make, tmp_path: Path
) -> None:
    run = make_run()
    slow, fast = (  # digits are not augmented: both see the same images in the same order
        linear(linear_cfg(run, features=features, cache_features=cached, checkpoint__dir=folder))
        for cached, folder in ((False, str(tmp_path / "slow")), (True, str(tmp_path / "fast")))
    )
    wanted, got = (_classifier(result) for result in (slow, fast))
    assert set(got) == {"classifier.weight", "classifier.bias"}
    for name, value in got.items():
        torch.testing.assert_close(value, wanted[name])
    assert (fast.acc1, fast.acc5) == (slow.acc1, slow.acc5)


class _Counts(nn.Module):
    """Counts the images that its backbone sees."""

    def __init__(self) -> None:
        super().__init__()
        self.images = 0

    def backbone(self, images: Tensor) -> Tensor:
        self.images += len(images)
        return images.flatten(1)


@pytest.mark.parametrize("epochs", [1, 3])
def test_cached_features_are_computed_once_for_each_image(
    epochs: int, make_run: Make, linear_cfg: Make
) -> None:
    cfg, _, _ = parse_linear_cfg(linear_cfg(make_run(), cache_features=True))
    model: Any = _Counts()
    images = LabelledDataModule(cfg, augment=False)
    features = FeatureDataModule(images, model, torch.device("cpu"))
    for _ in range(epochs):
        rows = sum(len(x) for x, _ in (*features.train_dataloader(), *features.val_dataloader()))
    # solo-learn's loaders leave an incomplete batch of training out
    assert rows > 1797 - cfg.optimizer.batch_size
    assert model.images == 1797


class _Look(Callback):
    """Keeps what is trained, as it is when training begins."""

    def setup(self, trainer: Any, module: Any, stage: str) -> None:
        self.data = trainer.datamodule
        self.training, self.backbone = module.classifier.training, module.backbone


def test_the_classifier_trains_on_cached_features_without_a_network(
    make_run: Make, linear_cfg: Make
) -> None:
    look = _Look()
    result = linear(linear_cfg(make_run(), cache_features=True), callbacks=[look])
    assert look.training
    assert isinstance(look.data, FeatureDataModule)
    assert isinstance(look.backbone, nn.Identity)
    assert json.loads(result.path.read_text())["augmented"] is False
