# SPDX-License-Identifier: MIT
"""Scales, and locations for a wanted share of active outputs, by scipy, quadrature and paper."""

import math
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from scipy.integrate import quad

from solo_plugins.distributions import (
    RectifiedGeneralizedGaussian,
    mu_gn,
    mu_rgn,
    scaled_to_unit_rms,
    sigma_gn,
    sigma_rgn,
)

Law = Callable[[float, float, float], Any]
SHARES = [1e-4, 0.02, 0.05, 0.5, 0.75, 0.999]
EXPONENTS = [0.25, 0.5, 1.0, 2.0, 4.0]


@pytest.mark.parametrize("p", EXPONENTS)
@pytest.mark.parametrize("share", SHARES)
def test_the_share_is_scipys_survival_function_at_zero(
    share: float, p: float, scipys_law: Law
) -> None:
    got = scipys_law(p, mu_gn(share, p), sigma_gn(p)).sf(0)
    assert got == pytest.approx(share, rel=1e-6)


@pytest.mark.parametrize("p", EXPONENTS)
@pytest.mark.parametrize("share", SHARES)
def test_the_share_is_that_at_unit_variance_after_rectification_too(
    share: float, p: float, scipys_law: Law
) -> None:
    mu = mu_rgn(share, p)
    assert scipys_law(p, mu, sigma_rgn(p, mu)).sf(0) == pytest.approx(share, rel=1e-6)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.5])
def test_at_p_1_the_location_is_the_papers_inverse(share: float) -> None:
    assert mu_gn(share, 1.0) == pytest.approx(sigma_gn(1.0) * math.log(2 * share), abs=1e-12)


@pytest.mark.parametrize("p", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("mu", [-2.0, 0.0, 0.5])
def test_a_scaled_target_has_a_mean_square_of_one_and_its_old_share(
    mu: float, p: float, scipys_law: Law
) -> None:
    loc, scale = scaled_to_unit_rms(mu, sigma_gn(p), p)
    law = scipys_law(p, loc, scale)
    peak = max(0.0, loc)
    parts = [(0, peak), (peak, peak + scale), (peak + scale, math.inf)]
    square = sum(quad(lambda x: x * x * law.pdf(x), *part, limit=200)[0] for part in parts)
    assert square == pytest.approx(1, rel=1e-6)
    assert law.sf(0) == pytest.approx(scipys_law(p, mu, sigma_gn(p)).sf(0), rel=1e-9)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 1.5, math.nan])
@pytest.mark.parametrize("solve", [mu_gn, mu_rgn])
def test_a_share_that_cannot_be_is_refused(solve: object, share: float) -> None:
    with pytest.raises(ValueError, match=r"`active_fraction` to be between 0 and 1 but got"):
        solve(share, 1.0)  # type: ignore[operator]


@pytest.mark.parametrize("solve", [mu_gn, mu_rgn])
def test_no_global_generator_is_used(solve: Callable) -> None:
    state = torch.get_rng_state()
    solve(0.05, 0.5)
    assert torch.equal(state, torch.get_rng_state())


# paper.md, section 1: computed with mpmath
@pytest.mark.parametrize(
    ("p", "published"), [(2, 1), (1, 0.707107), (0.75, 0.566148), (0.5, 0.365148), (0.25, 0.099252)]
)
def test_sigma_gn_is_the_published_one(p: float, published: float) -> None:
    assert sigma_gn(p) == pytest.approx(published, abs=1e-6)


@pytest.mark.parametrize(
    ("loc", "sigma", "active"),
    [(1, 0.881, 0.839), (0, 1.155, 0.5), (-1, 1.496, 0.256), (-2, 1.813, 0.166), (-3, 2.104, 0.12)],
)
def test_sigma_rgn_is_the_published_one(loc: float, sigma: float, active: float) -> None:
    assert sigma_rgn(1.0, loc) == pytest.approx(sigma, abs=5e-4)
    dist = RectifiedGeneralizedGaussian(float(loc), sigma_rgn(1.0, loc), 1.0)
    assert dist.active_probability.item() == pytest.approx(active, abs=1e-3)


@pytest.mark.parametrize("p", [0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0])
@pytest.mark.parametrize("loc", [-3.0, -1.0, -0.25, 0.0, 0.5, 3.0])
def test_sigma_rgn_gives_unit_variance(p: float, loc: float) -> None:
    parameters = torch.tensor([loc, sigma_rgn(p, loc), p], dtype=torch.float64)
    dist = RectifiedGeneralizedGaussian(*parameters)
    assert dist.variance.item() == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("scale", [sigma_gn, lambda p: sigma_rgn(p, 0.0)], ids=["gn", "rgn"])
@pytest.mark.parametrize("p", [0.0, -1.0, math.inf, math.nan])
def test_scales_refuse_a_bad_exponent(p: float, scale: Callable) -> None:
    with pytest.raises(ValueError, match=f"Expected `p` to be positive and finite but got {p}"):
        scale(p)


@pytest.mark.parametrize("loc", [math.inf, -math.inf, math.nan])
def test_sigma_rgn_refuses_an_infinite_location(loc: float) -> None:
    with pytest.raises(ValueError, match=f"Expected `loc` to be finite but got {loc}"):
        sigma_rgn(1.0, loc)


@pytest.mark.parametrize("p", [0.05, 0.01])
def test_a_small_exponent_does_not_overflow(p: float) -> None:
    # at loc 0 the rectified variance is half the base's, less a mean that a small p sends to zero
    assert sigma_rgn(p, 0.0) / sigma_gn(p) == pytest.approx(math.sqrt(2), rel=1e-2)


def test_a_share_whose_variance_no_scale_makes_one_is_refused() -> None:
    # At p = 1 and scale 1 what is above zero is exponential: its mean square is 2, and the variance
    # of all is near 2 times the share.
    with pytest.raises(
        ValueError,
        match=r"^Expected `active_fraction` to leave a variance .* 1e-35, which leaves 2\.0e-35\.$",
    ):
        mu_rgn(1e-35, 1.0)
    assert mu_rgn(1e-20, 1.0) < 0


@pytest.mark.parametrize("value", ["a", None, [1.0], 1j, True], ids=repr)
@pytest.mark.parametrize(
    ("function", "name"),
    [
        (sigma_gn, "p"),
        (lambda value: sigma_rgn(value, 0.0), "p"),
        (lambda value: sigma_rgn(1.0, value), "loc"),
        (lambda value: mu_gn(value, 1.0), "active_fraction"),
        (lambda value: mu_gn(0.1, value), "p"),
        (lambda value: mu_rgn(value, 1.0), "active_fraction"),
        (lambda value: mu_rgn(0.1, value), "p"),
        (lambda value: scaled_to_unit_rms(value, 1.0, 1.0), "loc"),
        (lambda value: scaled_to_unit_rms(0.0, value, 1.0), "scale"),
        (lambda value: scaled_to_unit_rms(0.0, 1.0, value), "p"),
    ],
)
def test_what_is_no_number_is_named(function: Callable, name: str, value: object) -> None:
    said = rf"^Expected `{name}` to be a number but got {re.escape(repr(value))}\.$"
    with pytest.raises(TypeError, match=said):
        function(value)
