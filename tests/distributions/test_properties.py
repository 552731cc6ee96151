# SPDX-License-Identifier: MIT
"""Any exponent from .05 to 50 and any location from -50 to 50, judged by 40 digits of mpmath."""

import math
from typing import NamedTuple

import mpmath
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from solo_plugins.distributions import (
    GeneralizedGaussian,
    RectifiedGeneralizedGaussian,
    mu_gn,
    mu_rgn,
    scaled_to_unit_rms,
    sigma_gn,
    sigma_rgn,
)

EPS = torch.finfo(torch.float64).eps
# torch's incomplete gamma functions take a series for orders above 20 and arguments near them. It
# is off by up to 1.6e-9 (torch 2.14, against mpmath; scipy's by 1e-15).
_SERIES = 2e-9
FIXED = {"derandomize": True, "deadline": None, "database": None}
EXPONENTS = st.floats(math.log(0.05), math.log(50)).map(math.exp)
LOCATIONS = st.floats(-50, 50) | st.sampled_from([0.0, -50.0, 50.0, 1e-300, -1e-9])


class _Truth(NamedTuple):
    """P(Y > 0), E[Y] and E[Y^2] of ReLU(GN_p(loc, scale)), and how much of each sum cancels."""

    moments: list
    condition: list[float]
    rounding: float


def _truth(loc: float, scale: float, p: float) -> _Truth:
    with mpmath.workdps(40):  # of which at most 20 cancel
        mu, s, q = mpmath.mpf(loc), mpmath.mpf(scale), mpmath.mpf(p)
        t = (abs(mu) / s) ** q / q

        def partial(k: int) -> mpmath.mpf:
            """E[W^k; W > -loc] of W from GN_p(0, scale), whose odd moments are one-sided."""
            whole = s**k * q ** (k / q) * mpmath.gamma((k + 1) / q) / mpmath.gamma(1 / q) / 2
            # exp(-700) is below 1e-304, and takes mpmath long
            tail = whole * mpmath.gammainc((k + 1) / q, t, regularized=True) if t < 700 else 0
            return tail if loc <= 0 or k % 2 else 2 * whole - tail

        zero, first, second = (partial(k) for k in range(3))
        sums = [[zero], [mu * zero, first], [mu**2 * zero, 2 * mu * first, second]]
        moments = [mpmath.fsum(terms) for terms in sums]
        condition = [
            float(mpmath.fsum(map(abs, terms)) / moment) if moment else 1.0
            for terms, moment in zip(sums, moments, strict=True)
        ]
        # t has some p + 2 roundings, which its exponential turns into as many times t; of lgamma
        # and of p^(k/p) the logarithms are rounded; torch's incomplete gamma function adds 100 eps
        logs = abs(math.lgamma(3 / p)) + abs(math.lgamma(1 / p)) + 2 / p * abs(math.log(p))
        rounding = 128 * EPS * (1 + (p + 2) * min(float(t), 700) + logs)
        return _Truth(moments, condition, rounding + (_SERIES if 3 / p > 20 else 0))


def _exact(*values: float) -> list[torch.Tensor]:
    return [torch.tensor(value, dtype=torch.float64) for value in values]


@settings(max_examples=30, **FIXED)
@given(loc=LOCATIONS, p=EXPONENTS)
def test_moments_are_those_of_forty_digits(loc: float, p: float) -> None:
    scale = sigma_gn(p)
    law, truth = RectifiedGeneralizedGaussian(*_exact(loc, scale, p)), _truth(loc, scale, p)
    found = (law.active_probability, law.mean, law.second_moment)
    for value, wanted, condition in zip(found, *truth[:2], strict=True):
        # below the smallest normal number there are no relative errors
        bound = truth.rounding * condition * abs(float(wanted)) + 1e-290
        assert math.isfinite(value)
        assert abs(float(value) - float(wanted)) <= bound


@settings(max_examples=40, **FIXED)
@given(fraction=st.floats(1e-12, 1 - 1e-12), p=EXPONENTS, own=st.booleans())
def test_the_location_of_an_active_fraction_has_it(fraction: float, p: float, own: bool) -> None:
    loc = mu_gn(fraction, p) if own else mu_rgn(fraction, p)
    scale = sigma_gn(p) if own else abs(loc) / max(abs(mu_gn(fraction, p)), 1e-300) * sigma_gn(p)
    law = RectifiedGeneralizedGaussian(*_exact(loc, scale or 1.0, p))
    t = (abs(loc) / (scale or 1.0)) ** p / p
    rounding = 64 * EPS * (1 + (p + 2) * t)
    assert float(law.active_probability) == pytest.approx(fraction, rel=rounding, abs=EPS)


@settings(max_examples=8, **FIXED)
@given(loc=st.floats(-50, 50), p=EXPONENTS)
def test_the_scale_of_unit_variance_has_it(loc: float, p: float) -> None:
    scale = sigma_rgn(p, loc)
    truth = _truth(loc, scale, p)
    _, first, second = truth.moments
    condition = truth.condition[2] * float(second)  # the variance is 1, less than E[Y^2]
    assert float(second - first**2) == pytest.approx(1, abs=4 * truth.rounding * condition + 1e-12)


@settings(max_examples=20, **FIXED)
@given(loc=LOCATIONS, p=EXPONENTS)
def test_a_unit_mean_square_is_one_or_refused(loc: float, p: float) -> None:
    truth = _truth(loc, sigma_gn(p), p)
    if truth.moments[2] < 0.99e-30:
        with pytest.raises(ValueError, match="a mean square of at least 1e-30"):
            scaled_to_unit_rms(loc, sigma_gn(p), p)
    elif truth.moments[2] > 1.01e-30:
        scaled = scaled_to_unit_rms(loc, sigma_gn(p), p)
        second = RectifiedGeneralizedGaussian(*_exact(*scaled, p)).second_moment
        assert float(second) == pytest.approx(1, rel=4 * truth.rounding * truth.condition[2])


@settings(max_examples=40, **FIXED)
@given(
    loc=LOCATIONS,
    p=EXPONENTS,
    dtype=st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]),
    rectified=st.booleans(),
)
def test_draws_and_functions_are_finite_in_any_precision(
    loc: float, p: float, dtype: torch.dtype, rectified: bool
) -> None:
    kind = RectifiedGeneralizedGaussian if rectified else GeneralizedGaussian
    scale = max(sigma_gn(p), 1e-5)  # float16 has no smaller one
    law = kind(*(torch.tensor(value, dtype=dtype) for value in (loc, scale, p)))
    draws = law.sample((64,), generator=torch.Generator().manual_seed(0))
    assert draws.dtype == torch.promote_types(dtype, torch.float32)
    assert draws.isfinite().all()
    assert bool((draws >= 0).all()) or not rectified
    places = law.cdf(draws)
    assert bool(((places >= 0) & (places <= 1)).all())
    assert not law.log_prob(draws).isnan().any()
    if dtype not in (torch.float16,):  # in which squares of 50 and more are infinite
        assert all(value.isfinite() for value in (law.mean, law.variance))


@pytest.mark.parametrize("p", [1e-300, 1e-4, 0.005, 0.0, -1.0, math.inf, math.nan])
def test_an_exponent_without_a_scale_is_refused(p: float) -> None:
    with pytest.raises(ValueError, match="Expected `p` to "):
        sigma_gn(p)
