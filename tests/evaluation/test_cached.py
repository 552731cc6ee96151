# SPDX-License-Identifier: MIT
"""A classifier on cached features against one whose network runs every epoch."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from solo_plugins.data.digits import Digits
from solo_plugins.evaluation import linear as module
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


def test_cached_features_are_computed_once_for_each_image(
    make_run: Make, linear_cfg: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    forward = Digits.__getitem__
    monkeypatch.setattr(Digits, "__getitem__", lambda *a: seen.append(a[1]) or forward(*a))
    cfg = linear_cfg(make_run(), cache_features=True, max_epochs=3)
    result = linear(cfg)
    assert len(seen) == 1797
    assert json.loads(result.path.read_text())["augmented"] is False


def test_a_classifier_on_cached_features_is_in_training_mode(
    make_run: Make, linear_cfg: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes = []
    fit = module.fit

    def spy(model: nn.Module, *args: Any, **kwargs: Any) -> dict[str, float]:
        modes.append(model.classifier.training)
        return fit(model, *args, **kwargs)

    monkeypatch.setattr(module, "fit", spy)
    linear(linear_cfg(make_run(), cache_features=True))
    assert modes == [True]
