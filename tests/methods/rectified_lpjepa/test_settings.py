# SPDX-License-Identifier: MIT
"""Asking for a share of active outputs: the settings, what each does, and errors."""

import math
from collections.abc import Callable
from typing import Any

import pytest
from omegaconf import DictConfig

from solo_plugins.distributions import sigma_gn
from solo_plugins.errors import ConfigurationError
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


@pytest.mark.parametrize("given", [{}, {"mean_shift_value": None}], ids=str)
def test_without_a_share_mu_is_the_papers(given: dict[str, Any]) -> None:
    assert _settings(**given).mu == 0.0


def test_the_default_of_mu_is_written_out() -> None:
    assert _settings().mean_shift_value == 0.0


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        (
            {"target_active_fraction": 0.05, "mean_shift_value": 0.0},
            r"`method_kwargs.mean_shift_value` and `target_active_fraction` to agree, but 0.0 "
            r"gives an active fraction of 0.5, not 0.05; .*mean_shift_value=null",
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


@pytest.mark.parametrize("name", WIDTHS)
def test_a_missing_width_is_named(name: str) -> None:
    given = {key: value for key, value in WIDTHS.items() if key != name}
    with pytest.raises(ConfigurationError, match=f"Expected `method_kwargs.{name}` to be"):
        RectifiedLpJEPASettings.from_config(given)


def test_an_unrectified_projector_against_a_rectified_target_is_a_warning() -> None:
    with pytest.warns(UserWarning, match="projector_type` is 'mlp'.* will not be sparse"):
        RectifiedLpJEPASettings(proj_hidden_dim=4, proj_output_dim=4, projector_type="mlp")
