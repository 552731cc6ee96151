# SPDX-License-Identifier: MIT
"""Asking for a share of active outputs: the settings, what each does, and errors."""

import csv
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig
from torch import nn

from solo_plugins.args.pretrain import parse_cfg
from solo_plugins.data import PretrainDataModule
from solo_plugins.distributions import sigma_gn
from solo_plugins.errors import ConfigurationError
from solo_plugins.methods.rectified_lpjepa.method import RectifiedLpJEPA
from solo_plugins.methods.rectified_lpjepa.settings import RectifiedLpJEPASettings
from solo_plugins.training.pretrain import pretrain

Make = Callable[..., DictConfig]
pytestmark = pytest.mark.usefixtures("methods", "lightning_quiet")
WIDTHS = {"proj_hidden_dim": 4, "proj_output_dim": 4}


def _settings(**changes: Any) -> RectifiedLpJEPASettings:
    return RectifiedLpJEPASettings.from_config({**WIDTHS, **changes})


@pytest.mark.parametrize("mode", ["sigma_GN", "sigma_RGN"])
@pytest.mark.parametrize("p", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("share", [0.02, 0.4, 0.9])
def test_mu_follows_from_the_share(share: float, p: float, mode: str, scipys_law: Callable) -> None:
    settings = _settings(target_active_fraction=share, lp_norm_parameter=p, mode_of_sigma=mode)
    law = scipys_law(p, settings.mu, settings.sigma)
    assert law.sf(0) == pytest.approx(share, rel=1e-6)
    again = RectifiedLpJEPASettings.from_config(vars(settings))  # as a run's config.yaml has them
    assert again == settings


@pytest.mark.parametrize("given", [None, math.log(0.1) * sigma_gn(1.0), -1.63])
def test_a_share_and_the_mu_that_gives_it_go_together(given: float | None) -> None:
    settings = _settings(target_active_fraction=0.05, mean_shift_value=given)
    assert settings.mu == pytest.approx(-1.63, abs=0.01)


def test_without_a_share_mu_is_the_papers() -> None:
    assert _settings().mean_shift_value == 0.0
    assert _settings(mean_shift_value=None).mu == 0.0


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        (
            {"target_active_fraction": 0.05, "mean_shift_value": 0.0},
            r"`method_kwargs.mean_shift_value` and `target_active_fraction` to agree, but 0.0 "
            r"gives 0.5000 active outputs and 0.05 were asked for; .*mean_shift_value=null",
        ),
        ({"target_active_fraction": 5}, r"`method_kwargs.target_active_fraction` .* but got 5"),
        ({"target_active_fraction": 1.0}, r"target_active_fraction` .* neither included, .* 1.0"),
        ({"target_active_fraction": "low"}, r"target_active_fraction` to be between .* 'low'"),
        (
            {"target_active_fraction": 0.1, "target_distribution": "lp_distribution"},
            r"target_active_fraction` .* `target_distribution: rectified.* 0.1 with 'lp_dist",
        ),
        ({"sparsity_warmup": -0.1}, r"`method_kwargs.sparsity_warmup` .* 0 to 1 but got -0.1"),
        ({"threshold_rate": True}, r"`method_kwargs.threshold_rate` .* but got True"),
        ({"unit_rms_target": 1}, r"`method_kwargs.unit_rms_target` to be true or false but got 1"),
        (
            {"threshold_rate": 0.1, "projector_type": "mlp"},
            r"`method_kwargs.threshold_rate` to be off with `projector_type: mlp`, .* but got 0.1",
        ),
        (
            {"sparsity_warmup": 0.5, "target_distribution": "lp_distribution"},
            r"sparsity_warmup` to be off with `target_distribution: lp_distribution`, .* got 0.5",
        ),
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:.*will not be sparse")
def test_a_wrong_setting_is_named(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigurationError, match=match):
        _settings(**changes)


def test_the_target_is_printed_at_the_start(make_cfg: Make, capsys: pytest.CaptureFixture) -> None:
    pretrain(make_cfg(max_epochs=1, method_kwargs__target_active_fraction=0.05))
    # p = 1: mean (sigma / 2) e^(mu / sigma), mean square sigma^2 e^(mu / sigma)
    mean = 0.05 * math.sqrt(0.5)
    wanted = (
        "Target: p=1, mu=-1.628, sigma=0.7071: 5 % active outputs, "
        f"mean {mean:.4g}, variance {0.05 - mean**2:.4g}"
    )
    assert wanted in capsys.readouterr().out


def _small(make_cfg: Make, augmentation: Callable, **settings: Any) -> DictConfig:
    cfg = make_cfg(
        max_epochs=4,
        limit_train_batches=10,
        limit_val_batches=1,
        backbone__kwargs={"channels": [8, 16, 16, 32], "stem_width": 8},
        optimizer__batch_size=64,
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
    free = _share(_small(make_cfg, augmentation))
    held = _share(_small(make_cfg, augmentation, threshold_rate=0.2))
    # 64 outputs that a step of .2 of their spread still moves: the share of one is within a few
    # hundredths, and their mean closer
    assert held == pytest.approx(0.1, abs=0.03)
    assert abs(free - 0.1) > 2 * abs(held - 0.1)


def test_the_warm_up_ends_at_the_share_that_was_asked_for(
    make_cfg: Make, augmentation: Callable
) -> None:
    result = pretrain(_small(make_cfg, augmentation, sparsity_warmup=0.5))
    scheduled = _column(result.folder, "train_scheduled_l0")
    assert scheduled[0] == pytest.approx(0.5)
    assert scheduled[10] == pytest.approx(0.25)  # the middle, in log-odds, of 1/2 and 1/10
    assert scheduled[20:] == pytest.approx([0.1] * 20)


def _model_and_batch(make_cfg: Make, **settings: Any) -> tuple[RectifiedLpJEPA, list]:
    cfg = make_cfg(performance={"disable_channel_last": True})
    cfg.method_kwargs.update(settings)
    cfg, _ = parse_cfg(cfg)
    torch.manual_seed(0)
    model = RectifiedLpJEPA(cfg)
    model.log_dict = lambda *_, **__: None  # Lightning logs within a Trainer only
    model.log = lambda *_, **__: None
    return model, next(iter(PretrainDataModule(cfg).train_dataloader()))


def test_a_unit_rms_target_has_a_mean_square_of_one(make_cfg: Make) -> None:
    model, _ = _model_and_batch(make_cfg, target_active_fraction=0.02, unit_rms_target=True)
    drawn = model.rdm_reg.target.sample((200_000,), generator=torch.Generator().manual_seed(0))
    # the fourth moment of this target is 6 / .02: an error of .04
    assert float(drawn.square().mean()) == pytest.approx(1, abs=0.15)
    assert model.target_l0 == pytest.approx(0.02, rel=1e-5)


def test_rep_relu_lets_dead_outputs_learn(make_cfg: Make) -> None:
    gradients = []
    for kind in ("rectified_mlp", "rep_rectified_mlp"):
        model, batch = _model_and_batch(make_cfg, projector_type=kind)
        last: nn.Linear = model.projector[6]  # type: ignore[assignment]
        nn.init.constant_(last.bias, -1.0)
        nn.init.zeros_(last.weight)  # every output is -1
        model.training_step(batch, 0)["loss"].backward()
        gradients.append(float(last.bias.grad.abs().max()))
    assert gradients[0] == 0
    assert gradients[1] > 0


def test_the_floor_is_a_part_of_the_outputs_that_were_asked_for(make_cfg: Make) -> None:
    settings = {"target_active_fraction": 0.3, "row_floor": 0.5, "proj_output_dim": 20}
    model, batch = _model_and_batch(make_cfg, **settings)
    nn.init.constant_(model.projector[6].bias, -100.0)
    assert ((model(batch[1][0])["z"] > 0).sum(dim=1) == 3).all()


class _Lower(nn.Module):
    def forward(self, a: torch.Tensor) -> torch.Tensor:
        return a - 100


def test_standardized_outputs_leave_no_sample_without_an_active_one(make_cfg: Make) -> None:
    model, batch = _model_and_batch(make_cfg, standardize_outputs=True)
    # far below zero, all of a sample alike: without standardization nothing would be left
    shifted = nn.Sequential(_Lower(), model.projector[7])
    linear = nn.Sequential(*list(model.projector)[:7])
    feats = linear(model.backbone(batch[1][0]))
    assert (shifted(feats) > 0).any(dim=1).all()
    assert not (_Lower()(feats) > 0).any()


def test_the_paper_s_loss_has_no_state_of_its_own(make_cfg: Make) -> None:
    model, _ = _model_and_batch(make_cfg)
    assert not model.criterion.state_dict()
    assert not [name for name in model.state_dict() if "thresh" in name]
