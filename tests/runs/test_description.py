# SPDX-License-Identifier: MIT
"""What a run says of itself, and what is made of runs that were written before they did."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from omegaconf import OmegaConf

from solo_plugins.methods.rectified_lpjepa.settings import RectifiedLpJEPASettings
from solo_plugins.runs.description import Description, TargetDescription

WIDTHS = {"proj_hidden_dim": 4, "proj_output_dim": 4}


@pytest.mark.parametrize("rectified", [True, False])
@pytest.mark.parametrize("calibrated", [True, False])
def test_a_description_is_read_as_it_was_written(rectified: bool, calibrated: bool) -> None:
    target = TargetDescription(1.0, -1.0, 0.5, rectified, 0.25, calibrated)
    written = Description.with_target("train_loss", target)
    summary = json.loads(json.dumps({"description": written.as_json()}))
    assert Description.from_summary(summary, OmegaConf.create({"method": "other"})) == written


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"mean_shift_value": -1.0, "lp_norm_parameter": 2.0},
        {"mean_shift_value": -1.0, "mode_of_sigma": "sigma_RGN"},
        {"target_active_fraction": 0.1, "threshold_rate": 0.05},
        {"target_active_fraction": 0.1, "mode_of_sigma": "sigma_RGN", "unit_rms_target": True},
    ],
    ids=str,
)
def test_an_old_run_is_described_by_its_configuration(
    settings: dict[str, Any], scipys_law: Callable
) -> None:
    kwargs = vars(RectifiedLpJEPASettings.from_config({**WIDTHS, **settings}))
    cfg = OmegaConf.create({"method": "rectified_lpjepa", "method_kwargs": kwargs})
    target = Description.from_summary({}, cfg).target
    assert target is not None
    law = scipys_law(target.p, target.loc, target.scale)
    assert target.l0 == pytest.approx(law.sf(0), rel=1e-5)
    if "target_active_fraction" in settings:
        assert target.l0 == pytest.approx(settings["target_active_fraction"], rel=1e-5)
    else:
        assert target.loc == settings.get("mean_shift_value", 0.0)
    assert target.calibrated == ("threshold_rate" in settings)


@pytest.mark.parametrize(
    ("method", "loss"),
    [
        ("nvicreg", "train_nvicreg_loss"),
        ("lpjepa", "train_rectified_lp_jepa_loss"),
        ("dino", "dino_loss"),
    ],
)
def test_an_old_baseline_has_its_name_and_its_loss(method: str, loss: str) -> None:
    described = Description.from_summary({}, OmegaConf.create({"method": method}))
    assert described == Description(method, loss)
