# SPDX-License-Identifier: MIT
"""The loss is the formula, gradients go where they are to go, and each setting does its part."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig
from torch import nn

from solo_plugins.training.pretrain import pretrain

Make = Callable[..., DictConfig]
NAME = "rectified_lpjepa"
pytestmark = pytest.mark.usefixtures("methods", "lightning_quiet")


@pytest.mark.parametrize(
    ("large", "small"), [(2, 0), (3, 0), (2, 2), (1, 2)], ids=["2", "3", "2+2", "1+2"]
)
def test_the_loss_is_the_formula_over_pairs_and_views(
    large: int, small: int, model_and_batch: Callable, augmentation: Callable
) -> None:
    entries = [augmentation(num_crops=large)]
    entries += [augmentation(num_crops=small, crop_size=16)] if small else []
    model, batch = model_and_batch(NAME, augmentations=entries)
    out = model.training_step(batch, 0)
    model.train()
    torch.manual_seed(0)
    views = [model(crop)["z"] for crop in batch[1]]
    pairs = [
        (views[i] - views[j]).square().mean()
        for i in range(large)
        for j in range(i + 1, large + small)
    ]
    invariance = torch.stack(pairs).mean()
    rdm_reg = model.rdm_reg(views, generator=model.step_generator(0))
    torch.testing.assert_close(out["invariance"], invariance.detach())
    torch.testing.assert_close(out["rdm_reg"], rdm_reg.detach())
    wanted = 25 * invariance + 125 * rdm_reg + out["classifier"]
    torch.testing.assert_close(out["loss"], wanted)


@pytest.mark.parametrize("projector", ["rectified_mlp", "rep_rectified_mlp"])
def test_gradients_reach_backbone_and_projector_and_outputs_are_not_negative(
    projector: str, model_and_batch: Callable
) -> None:
    model, batch = model_and_batch(NAME, {"projector_type": projector})
    model.training_step(batch, 0)["loss"].backward()
    for part in (model.backbone, model.projector, model.classifier):
        assert any(weight.grad.abs().sum() > 0 for weight in part.parameters())
    assert (model(batch[1][0])["z"] >= 0).all()


def test_the_classifier_does_not_train_the_backbone(model_and_batch: Callable) -> None:
    off = {"invariance_loss_weight": 0.0, "rdm_reg_loss_weight": 0.0}
    model, batch = model_and_batch(NAME, {**off, "add_projector_classifier": True})
    model.training_step(batch, 0)["loss"].backward()
    assert all(not weight.grad.abs().any() for weight in model.backbone.parameters())
    assert all(weight.grad.abs().any() for weight in model.projector_classifier.parameters())


def _small(make_cfg: Make, augmentation: Callable, **settings: Any) -> DictConfig:
    cfg = make_cfg(
        max_epochs=4,
        limit_train_batches=10,
        limit_val_batches=0,
        backbone__kwargs={"channels": [8, 16, 16, 32], "stem_width": 8},
        optimizer__batch_size=32,
        optimizer__name="adamw",
        optimizer__lr=2e-3,
        augmentations=[augmentation(crop_size=16)],
    )
    cfg.method_kwargs.update({"proj_output_dim": 64, "target_active_fraction": 0.1, **settings})
    return cfg


def _column(folder: Path, name: str) -> list[float]:
    with (folder / "metrics.csv").open() as file:
        return [float(row[name]) for row in csv.DictReader(file) if row.get(name)]


def _share(cfg: DictConfig) -> float:
    return _column(pretrain(cfg).folder, "train_l0_sparsity_metric_epoch")[-1]


def test_thresholds_bring_the_share_that_was_asked_for(
    make_cfg: Make, augmentation: Callable
) -> None:
    held = _share(_small(make_cfg, augmentation, threshold_rate=0.2))
    # 64 outputs that a step of .2 of their spread still moves: the share of one is within a few
    # hundredths, and their mean closer; without thresholds it is .48 here
    assert held == pytest.approx(0.1, abs=0.03)


def test_the_warm_up_ends_at_the_share_that_was_asked_for(
    make_cfg: Make, augmentation: Callable
) -> None:
    result = pretrain(_small(make_cfg, augmentation, sparsity_warmup=0.5))
    scheduled = _column(result.folder, "train_scheduled_l0")
    assert scheduled[0] == pytest.approx(0.5)
    assert scheduled[10] == pytest.approx(0.25)  # the middle, in log-odds, of 1/2 and 1/10
    assert scheduled[20:] == pytest.approx([0.1] * 20)


@pytest.mark.parametrize("share", [0.02, 0.3])
def test_a_unit_rms_target_has_a_mean_square_of_one(
    share: float, model_and_batch: Callable
) -> None:
    settings = {"target_active_fraction": share, "unit_rms_target": True}
    model, _ = model_and_batch(NAME, settings)
    drawn = model.rdm_reg.target.sample((200_000,), generator=torch.Generator().manual_seed(0))
    # the fourth moment of this target is 6 / share: an error of .04 or less
    assert float(drawn.square().mean()) == pytest.approx(1, abs=0.15)
    assert model.target_l0 == pytest.approx(share, rel=1e-5)


@pytest.mark.parametrize(
    ("kind", "learns"), [("rectified_mlp", False), ("rep_rectified_mlp", True)]
)
def test_dead_outputs_learn_with_rep_relu_only(
    kind: str, learns: bool, model_and_batch: Callable
) -> None:
    model, batch = model_and_batch(NAME, {"projector_type": kind})
    last: nn.Linear = model.projector[6]
    nn.init.constant_(last.bias, -1.0)
    nn.init.zeros_(last.weight)  # every output is -1
    model.training_step(batch, 0)["loss"].backward()
    assert bool(last.bias.grad.abs().max() > 0) is learns


@pytest.mark.parametrize(
    ("share", "row_floor", "active"), [(0.3, 0.5, 3), (0.3, 1.0, 6), (0.1, 0.5, 1)]
)
def test_the_floor_is_a_part_of_the_outputs_that_were_asked_for(
    share: float, row_floor: float, active: int, model_and_batch: Callable
) -> None:
    settings = {"target_active_fraction": share, "row_floor": row_floor, "proj_output_dim": 20}
    model, batch = model_and_batch(NAME, settings)
    nn.init.constant_(model.projector[6].bias, -100.0)
    assert ((model(batch[1][0])["z"] > 0).sum(dim=1) == active).all()


class _Lower(nn.Module):
    def forward(self, a: torch.Tensor) -> torch.Tensor:
        return a - 100


def test_standardized_outputs_leave_no_sample_without_an_active_one(
    model_and_batch: Callable,
) -> None:
    model, batch = model_and_batch(NAME, {"standardize_outputs": True})
    # far below zero, all of a sample alike: without standardization nothing would be left
    shifted = nn.Sequential(_Lower(), model.projector[7])
    linear = nn.Sequential(*list(model.projector)[:7])
    feats = linear(model.backbone(batch[1][0]))
    assert (shifted(feats) > 0).any(dim=1).all()
    assert not (_Lower()(feats) > 0).any()


def test_the_paper_s_loss_has_no_state_of_its_own(model_and_batch: Callable) -> None:
    model, _ = model_and_batch(NAME)
    assert not model.criterion.state_dict()
    assert not [name for name in model.state_dict() if "thresh" in name]
