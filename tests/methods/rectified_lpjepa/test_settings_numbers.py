# SPDX-License-Identifier: MIT
"""Settings at the ends of their ranges: exact, refused for the right reason, or warned of."""

import warnings
from typing import Any

import pytest
import torch

from solo_plugins.distributions import mu_gn
from solo_plugins.errors import ConfigurationError
from solo_plugins.methods.rectified_lpjepa import RectifiedLpJEPASettings
from solo_plugins.methods.rectified_lpjepa.criterion import Criterion


def _settings(**changes: Any) -> RectifiedLpJEPASettings:
    return RectifiedLpJEPASettings(**{"proj_hidden_dim": 8, "proj_output_dim": 8, **changes})


@pytest.mark.parametrize("fraction", [0.999999, 1 - 1e-8, 1 - 1e-12, 0.01])
@pytest.mark.parametrize("p", [0.5, 1.0, 2.0])
def test_a_fraction_near_one_is_kept_to_the_last_digits(fraction: float, p: float) -> None:
    asked = _settings(target_active_fraction=fraction, lp_norm_parameter=p)
    # the rest, 1 - fraction, is what a double holds of it
    assert 1 - asked.active_fraction == pytest.approx(1 - fraction, rel=1e-3, abs=0)
    assert Criterion(asked).target_l0 == asked.active_fraction
    both = _settings(
        target_active_fraction=fraction, mean_shift_value=mu_gn(fraction, p), lp_norm_parameter=p
    )
    assert both.active_fraction == asked.active_fraction


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        (
            {"mean_shift_value": -50, "unit_rms_target": True},
            r"mean_shift_value` to be possible with `unit_rms_target: True` but got -50.0: .*1e-30",
        ),
        ({"mean_shift_value": 1e300}, r"mean_shift_value` to give a target that float32 holds"),
        (
            {"target_active_fraction": 1e-300, "mode_of_sigma": "sigma_RGN"},
            r"target_active_fraction` to be possible but got 1e-300: .* scaled to 1",
        ),
        ({"lp_norm_parameter": 1e-4}, r"lp_norm_parameter` to be possible but got 0.0001: .*p`"),
        (
            {"mean_shift_value": 50, "threshold_rate": 0.1},
            r"mean_shift_value` to give an active fraction between 0 and 1 with `threshold_rate",
        ),
        (
            {"mean_shift_value": -5000, "sparsity_warmup": 0.1},
            r"mean_shift_value` to give an active fraction between 0 and 1 with `sparsity_warmup",
        ),
    ],
    ids=str,
)
def test_a_target_that_cannot_be_is_refused_by_key(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"^Expected `method_kwargs\.{match}"):
        _settings(**changes)


@pytest.mark.parametrize(("mu", "percent"), [(-50, "1e-29"), (-7, "0.003")])
def test_a_target_of_no_active_outputs_is_warned_of(mu: float, percent: str) -> None:
    with pytest.warns(UserWarning, match=rf"`method_kwargs.mean_shift_value` is {mu}: .*{percent}"):
        _settings(mean_shift_value=mu)


def test_a_sparse_target_of_many_outputs_is_not() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _settings(mean_shift_value=-3, lp_norm_parameter=2.0, proj_output_dim=2048)


@pytest.mark.parametrize(
    "views",
    [torch.rand(256, 8), [torch.rand(16, 8), torch.rand(16, 4)], [torch.rand(2, 16, 8)]],
    ids=["not-split", "other-width", "stacked"],
)
def test_what_are_no_views_is_refused(views: Any) -> None:
    with pytest.raises(ValueError, match=r"to be outputs \(N, 8\) but got one of shape \("):
        Criterion(_settings())(views)
