# SPDX-License-Identifier: MIT
"""One step of the method: the loss is the formula, gradients go where they are to go."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from omegaconf import DictConfig

from solo_plugins.args.pretrain import parse_cfg
from solo_plugins.data import PretrainDataModule
from solo_plugins.methods.rectified_lpjepa.method import RectifiedLpJEPA

Make = Callable[..., DictConfig]
pytestmark = pytest.mark.usefixtures("methods")


def _model_and_batch(make_cfg: Make, **changes: Any) -> tuple[RectifiedLpJEPA, list]:
    cfg, _ = parse_cfg(make_cfg(performance={"disable_channel_last": True}, **changes))
    torch.manual_seed(0)
    model = RectifiedLpJEPA(cfg)
    model.log_dict = lambda *_, **__: None  # Lightning logs within a Trainer only
    model.log = lambda *_, **__: None
    data = PretrainDataModule(cfg)
    return model, next(iter(data.train_dataloader()))


@pytest.mark.parametrize(
    ("large", "small"), [(2, 0), (3, 0), (2, 2), (1, 2)], ids=["2", "3", "2+2", "1+2"]
)
def test_the_loss_is_the_formula_over_pairs_and_views(
    large: int, small: int, make_cfg: Make, augmentation: Callable
) -> None:
    entries = [augmentation(num_crops=large)]
    entries += [augmentation(num_crops=small, crop_size=16)] if small else []
    model, batch = _model_and_batch(make_cfg, augmentations=entries)
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


def test_gradients_reach_backbone_and_projector_and_outputs_are_not_negative(
    make_cfg: Make,
) -> None:
    model, batch = _model_and_batch(make_cfg)
    model.training_step(batch, 0)["loss"].backward()
    for part in (model.backbone, model.projector, model.classifier):
        assert any(weight.grad.abs().sum() > 0 for weight in part.parameters())
    assert (model(batch[1][0])["z"] >= 0).all()


def test_the_classifier_does_not_train_the_backbone(make_cfg: Make) -> None:
    model, batch = _model_and_batch(
        make_cfg,
        method_kwargs__invariance_loss_weight=0.0,
        method_kwargs__rdm_reg_loss_weight=0.0,
        method_kwargs__add_projector_classifier=True,
    )
    model.training_step(batch, 0)["loss"].backward()
    assert all(not weight.grad.abs().any() for weight in model.backbone.parameters())
    assert all(weight.grad.abs().any() for weight in model.projector_classifier.parameters())
