# SPDX-License-Identifier: MIT
"""Locations and scales of the target: a given variance, active fraction or mean square."""

__all__ = ["mu_gn", "mu_rgn", "scaled_to_unit_rms", "sigma_gn", "sigma_rgn"]

import math
from functools import lru_cache
from typing import Any

import torch

from solo_plugins.distributions.generalized_gaussian import GeneralizedGaussian
from solo_plugins.distributions.rectified import RectifiedGeneralizedGaussian

# Of float32's normal numbers, 2**-126.
_LOG_SMALLEST = -126 * math.log(2)
# The least mean square that is scaled to 1: mu is below 1e17 then, whose square float32 holds.
_LEAST_MEAN_SQUARE = 1e-30


def sigma_gn(p: float) -> float:
    r"""Compute the scale at which :math:`GN_p(0, \sigma)` has unit variance.

    Args:
        p: the exponent, positive.

    Returns:
        :math:`\Gamma(1/p)^{1/2} / (p^{1/p} \Gamma(3/p)^{1/2})`, the paper's default scale.

    Raises:
        ValueError: if `p` is not positive and finite, or so small that the scale is no number of
            float32.
        TypeError: if it is no number.

    Example:
        >>> round(sigma_gn(2.0), 6), round(sigma_gn(1.0), 6)
        (1.0, 0.707107)
    """
    _check_p(p)
    # lgamma itself overflows for a p below 1e-305
    log_scale = (
        -math.inf if p < 1e-3 else (math.lgamma(1 / p) - math.lgamma(3 / p)) / 2 - math.log(p) / p
    )
    if not _LOG_SMALLEST < log_scale < -_LOG_SMALLEST:
        raise ValueError(
            f"Expected `p` to give a scale that float32 holds but got {p}, whose scale is "
            f"exp({log_scale:.0f}); 0.02 is possible."
        )
    return math.exp(log_scale)


def sigma_rgn(p: float, loc: float) -> float:
    r"""Compute the scale at which ReLU(:math:`GN_p(\mu, \sigma)`) has unit variance.

    Args:
        p: the exponent, positive.
        loc: :math:`\mu`, finite.

    Returns:
        The scale, by bisection in float64 to the last bits.

    Raises:
        ValueError: if `p` is not positive and finite or `loc` is not finite.
        TypeError: if one of them is no number.

    Example:
        >>> round(sigma_rgn(1.0, 0.0), 3)
        1.155
    """
    _check_p(p)
    _check_number("loc", loc)
    if not math.isfinite(loc):
        raise ValueError(f"Expected `loc` to be finite but got {loc}.")
    return _sigma_rgn(float(p), float(loc))


@lru_cache(maxsize=1024)  # a hundred variances, which settings ask for several times
def _sigma_rgn(p: float, loc: float) -> float:
    low, high = 0.0, 1.0
    while _rectified_variance(p, loc, high) < 1:
        low, high = high, 2 * high
    while (middle := (low + high) / 2) not in (low, high):
        if _rectified_variance(p, loc, middle) < 1:
            low = middle
        else:
            high = middle
    return high


def mu_gn(active_fraction: float, p: float) -> float:
    r"""Solve :math:`P(GN_p(\mu, \sigma_{GN}) > 0)` = `active_fraction` for :math:`\mu`.

    Args:
        active_fraction: the probability of a draw above zero, between 0 and 1, neither included.
        p: the exponent, positive.

    Returns:
        :math:`\mu`, a quantile of the centred distribution: closed form up to the inverse of the
        incomplete gamma function.

    Raises:
        ValueError: if `active_fraction` is not between 0 and 1, or `p` not positive and finite.
        TypeError: if one of them is no number.

    Example:
        >>> round(mu_gn(0.05, 1.0), 4)  # sigma ln(2 * 0.05)
        -1.6282
    """
    return _standard_location(active_fraction, p) * sigma_gn(p)


def mu_rgn(active_fraction: float, p: float) -> float:
    r"""Solve the same with the scale at which the rectified variance is 1.

    The active fraction depends on :math:`\mu / \sigma` alone, and the variance grows with
    :math:`\sigma^2` at a fixed ratio, so that nothing has to be iterated.

    Args:
        active_fraction: the probability of a draw above zero, between 0 and 1, neither included.
        p: the exponent, positive.

    Returns:
        :math:`\mu`; the scale is ``sigma_rgn(p, mu)``.

    Raises:
        ValueError: if `active_fraction` is not between 0 and 1, or `p` not positive and finite.
        TypeError: if one of them is no number.

    Example:
        >>> mu = mu_rgn(0.05, 1.0)
        >>> round(0.5 * math.exp(mu / sigma_rgn(1.0, mu)), 6)
        0.05
    """
    ratio = _standard_location(active_fraction, p)
    exact = torch.tensor([ratio, 1.0, p], dtype=torch.float64)
    variance = float(RectifiedGeneralizedGaussian(exact[0], exact[1], exact[2]).variance)
    if variance < _LEAST_MEAN_SQUARE:
        raise ValueError(
            f"Expected `active_fraction` to leave a variance that can be scaled to 1 but got "
            f"{active_fraction}, which leaves {variance:.1e}."
        )
    return ratio / math.sqrt(variance)


def scaled_to_unit_rms(loc: float, scale: float, p: float) -> tuple[float, float]:
    r"""Scale ReLU(:math:`GN_p(\mu, \sigma)`) to a mean square of 1; the active fraction stays.

    Args:
        loc: :math:`\mu`.
        scale: :math:`\sigma`, positive.
        p: the exponent, positive.

    Returns:
        The new :math:`\mu` and :math:`\sigma`.

    Raises:
        ValueError: if hardly anything is above zero: the mean square is below 1e-30.
        TypeError: if an argument is no number.

    Example:
        >>> loc, scale = scaled_to_unit_rms(0.0, 1.0, 2.0)  # half of N(0, 1)'s mean square is left
        >>> round(loc, 4), round(scale, 4)
        (0.0, 1.4142)
    """
    for name, value in (("loc", loc), ("scale", scale), ("p", p)):
        _check_number(name, value)
    exact = torch.tensor([loc, scale, p], dtype=torch.float64)
    target = RectifiedGeneralizedGaussian(exact[0], exact[1], exact[2])
    mean_square = float(target.second_moment)
    if not mean_square >= _LEAST_MEAN_SQUARE:
        raise ValueError(
            f"Expected `loc` to leave a mean square of at least {_LEAST_MEAN_SQUARE:g}, which can "
            f"be scaled to 1, but got {loc}, which leaves {mean_square:.1e}."
        )
    factor = 1 / math.sqrt(mean_square)
    return loc * factor, scale * factor


def _rectified_variance(p: float, loc: float, scale: float) -> float:
    exact = torch.tensor([loc, scale, p], dtype=torch.float64)
    return float(RectifiedGeneralizedGaussian(exact[0], exact[1], exact[2]).variance)


def _check_number(name: str, value: Any) -> None:
    if isinstance(value, bool) or not hasattr(value, "__float__"):
        raise TypeError(f"Expected `{name}` to be a number but got {value!r}.")


def _check_p(p: float) -> None:
    _check_number("p", p)
    if not (p > 0 and math.isfinite(p)):
        raise ValueError(f"Expected `p` to be positive and finite but got {p}.")


def _standard_location(active_fraction: float, p: float) -> float:
    _check_number("active_fraction", active_fraction)
    if not 0 < active_fraction < 1:
        raise ValueError(
            f"Expected `active_fraction` to be between 0 and 1 but got {active_fraction}."
        )
    sigma_gn(p)  # refuses a bad p
    exact = torch.tensor([0.0, 1.0, p], dtype=torch.float64)
    standard = GeneralizedGaussian(exact[0], exact[1], exact[2])
    return float(standard.icdf(torch.tensor(active_fraction, dtype=torch.float64)))
