# SPDX-License-Identifier: MIT
"""What a run says of itself, and what is made of runs that were written before they did."""

import inspect
import json
import re
import sys
from collections.abc import Callable
from typing import Any

import pytest
from omegaconf import OmegaConf

from solo_plugins.framework import LOSSES
from solo_plugins.methods.rectified_lpjepa.settings import RectifiedLpJEPASettings
from solo_plugins.runs.description import (
    Description,
    TargetDescription,
    loss_name,
    method_name,
)

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


def test_an_old_run_without_settings_has_the_papers(scipys_law: Callable) -> None:
    described = Description.from_summary({}, OmegaConf.create({"method": "rectified_lpjepa"}))
    target = described.target
    assert target is not None
    # sigma of unit variance: a Laplace's variance is twice the square of its scale
    assert (target.p, target.loc, target.scale) == (1.0, 0.0, pytest.approx(0.5**0.5))
    assert (target.rectified, target.calibrated, target.l0) == (True, False, 0.5)
    assert described[:2] == ("p=1, μ=0", "train_rectified_lp_jepa_loss")


@pytest.mark.parametrize("rule", ["sigma_GN", "sigma_RGN"])
@pytest.mark.parametrize("unit_rms", [True, False])
def test_an_old_run_that_named_a_fraction_has_it(
    rule: str, unit_rms: bool, scipys_law: Callable
) -> None:
    # as typed: the location was not in the configuration
    kwargs = {"target_active_fraction": 0.1, "mode_of_sigma": rule, "unit_rms_target": unit_rms}
    cfg = OmegaConf.create({"method": "rectified_lpjepa", "method_kwargs": kwargs})
    target = Description.from_summary({}, cfg).target
    assert target is not None
    law = scipys_law(target.p, target.loc, target.scale)
    assert law.sf(0) == pytest.approx(0.1, rel=1e-5)
    second = law.expect(lambda x: x * x, lb=0)
    variance = second - law.expect(lambda x: x, lb=0) ** 2
    if unit_rms:
        assert second == pytest.approx(1, rel=1e-5)
    elif rule == "sigma_RGN":
        assert variance == pytest.approx(1, rel=1e-5)
    else:
        assert law.var() == pytest.approx(1, rel=1e-5)


def test_an_old_dense_run_is_all_active_and_called_so() -> None:
    kwargs = {"target_distribution": "lp_distribution", "lp_norm_parameter": 2}
    cfg = OmegaConf.create({"method": "rectified_lpjepa", "method_kwargs": kwargs})
    described = Description.from_summary({}, cfg)
    assert described.target is not None
    assert (described.target.rectified, described.target.l0) == (False, 1.0)
    assert (described.label, described.series) == (
        "dense, p=2, μ=0",
        "Rectified LpJEPA, dense, p = 2",
    )


@pytest.mark.parametrize(
    ("target", "label", "series"),
    [
        (TargetDescription(1.0, 0.0, 0.5, True, 0.5), "p=1, μ=0", "p = 1"),
        (TargetDescription(0.5, -1.2345, 0.5, True, 0.5), "p=0.5, μ=-1.23", "p = 0.5"),
        (
            TargetDescription(1.0, -3.0, 0.5, True, 0.02, True),
            "p=1, calibrated to 2 %",
            "p = 1, calibrated",
        ),
    ],
)
def test_a_run_is_named_by_what_it_aims_at(
    target: TargetDescription, label: str, series: str
) -> None:
    described = Description.with_target("train_loss", target)
    assert (described.label, described.series) == (label, f"Rectified LpJEPA, {series}")


def _read(**changes: Any) -> Description:
    """Read a summary with something changed in its description, or in the target there."""
    target = TargetDescription(1.0, -1.0, 0.5, True, 0.25)
    given = Description.with_target("train_loss", target).as_json()
    given["target"] |= {name: changes.pop(name) for name in [*changes] if name in given["target"]}
    return Description.from_summary({"description": given | changes}, OmegaConf.create({}))


@pytest.mark.parametrize(
    ("name", "taken", "refused"),
    [
        ("p", [1e-9, 9e17], [0, -1, 1e18, float("nan")]),
        ("scale", [1e-9, 9e17], [0, -1, 1e18, float("inf")]),
        ("loc", [-9e17, 0, 9e17], [-1e18, 1e18, float("nan")]),
        ("l0", [0, 1], [-1e-9, 1.001, float("nan")]),
        ("scale_rule", ["sigma_GN", "sigma_RGN"], ["sigma", ""]),
    ],
)
def test_what_no_distribution_has_is_refused(name: str, taken: list, refused: list) -> None:
    for value in taken:
        target = _read(**{name: value}).target
        assert target is not None
        assert getattr(target, name) == value
    for value in refused:
        with pytest.raises(ValueError, match=rf"{name}|rule"):
            _read(**{name: value})


def test_names_of_a_stranger_are_cut_and_of_one_line() -> None:
    described = _read(label="a\n" + "b" * 200, series="c\x1b[2J" + "d" * 200)
    for text in (described.label, described.series or ""):
        assert len(text) <= 80
        assert text.isprintable()
    assert _read(series=None).series is None
    assert _read(target=None).target is None


@pytest.mark.parametrize(
    ("method", "name"),
    [("simclr", "SimCLR"), ("rectified_lpjepa", "Rectified LpJEPA"), ("mine", "mine")],
)
def test_a_method_has_the_name_of_papers(method: str, name: str) -> None:
    assert method_name(method) == name


def test_losses_are_what_solo_learns_methods_log(methods: dict[str, type]) -> None:
    read = 0
    for name, method in methods.items():
        # of the PyPI release the classes are the bridge's, with solo-learn's among their bases
        modules = [sys.modules[base.__module__] for base in method.__mro__]
        theirs = [module for module in modules if module.__name__.startswith("solo.methods.")]
        if not theirs or theirs[0].__name__ in ("solo.methods.base", "solo.methods.linear"):
            continue
        logged = re.findall(r'"(\w+)"', inspect.getsource(theirs[0]))
        assert LOSSES.get(name, loss_name(name)) in logged, name
        read += 1
    assert read > 5
