# SPDX-License-Identifier: MIT
"""Draws: their law, their precision and their gradient."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.stats import kstest, norm

from solo_plugins.distributions import (
    GeneralizedGaussian,
    RectifiedGeneralizedGaussian,
    sigma_gn,
)

FALSE_ALARM = 1e-3
N = 200_000


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# At p = .05 a tenth of the draws are nearer to `loc` than numbers of float32 are to each other.
@pytest.mark.parametrize(
    ("loc", "p"),
    [
        (loc, p)
        for loc in (-1.0, 0.0, 0.5)
        for p in (0.05, 0.25, 0.5, 1.0, 1.5, 2.0, 4.0, 20.0, 50.0)
        if p > 0.05 or loc == 0
    ],
)
def test_samples_follow_scipys_law(p: float, loc: float, scipys_law: Callable) -> None:
    dist = GeneralizedGaussian(loc, sigma_gn(p), p)
    draws = dist.sample((20_000,), generator=_generator()).double().numpy()
    judge = scipys_law(p, loc, sigma_gn(p))
    assert kstest(draws, judge.cdf).pvalue > FALSE_ALARM


@pytest.mark.parametrize("p", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("loc", [-1.0, 0.0, 1.0])
def test_active_share_and_mean_are_the_closed_form(p: float, loc: float) -> None:
    dist = RectifiedGeneralizedGaussian(loc, sigma_gn(p), p)
    draws = dist.sample((N,), generator=_generator()).double()
    quantile = norm.isf(FALSE_ALARM / 2)
    share, active = (draws > 0).double().mean().item(), dist.active_probability.item()
    assert abs(share - active) < quantile * np.sqrt(active * (1 - active) / N)
    error = quantile * np.sqrt(dist.variance.item() / N)
    assert abs(draws.mean().item() - dist.mean.item()) < error


# Millions of draws. 2 % are so many standard errors of the variance (from the fourth moment): 4.0,
# 4.4 and, as p = 2 has 1.3 active draws in a thousand, 2.6.
@pytest.mark.parametrize(("p", "millions"), [(0.5, 40), (1.0, 40), (2.0, 60)])
def test_drawn_variance_holds_in_the_tail_under_autocast(p: float, millions: int) -> None:
    dist = RectifiedGeneralizedGaussian(-3.0, sigma_gn(p), p)
    seeds = range(millions // 10)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        draws = torch.cat([dist.sample((10_000_000,), generator=_generator(s)) for s in seeds])
    assert draws.dtype == torch.float32
    variance = draws.double().var().item()
    assert variance == pytest.approx(dist.variance.item(), rel=0.02)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["fp16", "bf16"])
@pytest.mark.parametrize("p", [0.5, 1.0, 2.0])
def test_draws_under_autocast_are_those_without(dtype: torch.dtype, p: float) -> None:
    dist = RectifiedGeneralizedGaussian(-1.0, sigma_gn(p), p)
    wanted = dist.sample((N,), generator=_generator())
    with torch.autocast("cpu", dtype=dtype):
        assert torch.equal(dist.sample((N,), generator=_generator()), wanted)


@pytest.mark.parametrize("kind", [GeneralizedGaussian, RectifiedGeneralizedGaussian])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_draws_have_the_parameters_precision_and_at_least_float32(
    dtype: torch.dtype, kind: type
) -> None:
    parameters = [torch.tensor(value, dtype=dtype) for value in (0.0, 1.0, 1.0)]
    wanted = torch.promote_types(dtype, torch.float32)
    assert kind(*parameters).sample((4,)).dtype == wanted


@pytest.mark.parametrize("p", [0.5, 1.0, 1.5, 2.0])
def test_equal_generators_draw_equal_samples(p: float) -> None:
    dist = RectifiedGeneralizedGaussian(0.0, 1.0, p)
    first, second = (dist.sample((64,), generator=_generator(3)) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, dist.sample((64,), generator=_generator(4)))


@pytest.mark.parametrize("p", [0.5, 1.0, 1.5, 2.0])
def test_rsample_has_the_gradient_of_finite_differences(p: float) -> None:
    def draw(loc: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        return GeneralizedGaussian(loc, scale, p).rsample((8,), generator=_generator())

    loc = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    scale = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(draw, (loc, scale))


@pytest.mark.parametrize("kind", [GeneralizedGaussian, RectifiedGeneralizedGaussian])
def test_exponents_may_differ_within_a_batch(kind: type) -> None:
    exponents = torch.tensor([0.5, 1.0, 2.0])
    dist = kind(0.0, torch.tensor([sigma_gn(p) for p in exponents.tolist()]), exponents)
    draws = dist.sample((N,), generator=_generator())
    # The standard error of a variance needs the 4th moment; 5 % is over 4 of them at p = .5.
    torch.testing.assert_close(draws.var(dim=0), dist.variance, rtol=0.05, atol=0)
