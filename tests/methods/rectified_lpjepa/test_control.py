# SPDX-License-Identifier: MIT
"""The schedule of the target's active fraction against its formula."""

import math
import warnings

import pytest
import torch
from torch import Tensor, nn

from solo_plugins.methods.rectified_lpjepa.control import scheduled_active_fraction
from solo_plugins.methods.rectified_lpjepa.criterion import Criterion
from solo_plugins.methods.rectified_lpjepa.settings import RectifiedLpJEPASettings
from solo_plugins.modules import RectifiedMLP


def _log_odds(fraction: float) -> float:
    return math.log(fraction / (1 - fraction))


@pytest.mark.parametrize("progress", [0.0, 0.2, 0.4, 0.6, 0.8, 1.0])
@pytest.mark.parametrize("target", [0.02, 0.3, 0.9])
def test_the_warm_up_is_a_line_in_log_odds_from_one_half(target: float, progress: float) -> None:
    got = scheduled_active_fraction(target, warmup=0.8, progress=progress)
    assert _log_odds(got) == pytest.approx(_log_odds(target) * min(1.0, progress / 0.8))


@pytest.mark.parametrize("progress", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("target", [0.05, 1.0])
def test_without_a_warm_up_it_is_the_target_at_once(target: float, progress: float) -> None:
    assert scheduled_active_fraction(target, warmup=0.0, progress=progress) == target


@pytest.mark.parametrize("rate", [0.0, 0.05])
def test_thresholds_that_are_to_move_must_be_there(rate: float) -> None:
    settings = {"proj_hidden_dim": 4, "proj_output_dim": 4, "threshold_rate": rate}
    criterion, z = Criterion(RectifiedLpJEPASettings(**settings)), torch.rand(8, 4)
    moved = RectifiedMLP(4, 4, 4).with_thresholds()
    criterion.control(z, moved)
    for without in (RectifiedMLP(4, 4, 4), nn.Linear(4, 4)):
        if rate == 0:
            criterion.control(z, without)
            continue
        with pytest.raises(ValueError, match=f"ThresholdedReLU.*but got {type(without).__name__}"):
            criterion.control(z, without)


def test_a_criterion_names_what_is_not_its_own() -> None:
    with pytest.raises(TypeError, match=r"RectifiedLpJEPASettings\(...\) but got dict"):
        Criterion({"proj_output_dim": 4})  # type: ignore[arg-type]
    criterion = Criterion(RectifiedLpJEPASettings(proj_hidden_dim=4, proj_output_dim=4))
    z = torch.rand(8, 4)
    with pytest.raises(TypeError, match=r"`criterion\(\[z1, z2\]\)`, but got 2 arguments"):
        criterion(z, z)
    with pytest.raises(ValueError, match="as many rows but got 8, 6"):
        criterion([z, z[:6]])


@pytest.mark.parametrize(
    ("settings", "views", "warns"),
    [
        ({}, [torch.rand(8, 4), torch.rand(8, 4) - 0.5], True),
        ({}, [torch.rand(8, 4), torch.rand(8, 4)], False),
        (
            {"target_distribution": "lp_distribution", "projector_type": "mlp"},
            [torch.randn(8, 4), torch.randn(8, 4)],
            False,
        ),
    ],
    ids=["negative", "rectified", "dense target"],
)
def test_negative_outputs_with_a_rectified_target_are_said_once(
    settings: dict, views: list[Tensor], warns: bool
) -> None:
    criterion = Criterion(RectifiedLpJEPASettings(proj_hidden_dim=4, proj_output_dim=4, **settings))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        criterion(views)
        criterion(views)
    said = [str(one.message) for one in caught if "has to end in a ReLU" in str(one.message)]
    assert len(said) == warns
