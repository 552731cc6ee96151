# SPDX-License-Identifier: MIT
"""Effective rank, distance of the marginals and nHSIC against numpy, scipy and POT."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import ot
import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.distributions import Distribution, Exponential, Laplace, Normal

from solo_plugins.distributions import GeneralizedGaussian, RectifiedGeneralizedGaussian
from solo_plugins.metrics import (
    effective_rank,
    marginal_distance,
    nhsic,
)


def _normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("shape", [(40, 7), (7, 40), (20, 20)], ids=str)
def test_effective_rank_is_that_of_numpys_singular_values(
    shape: tuple[int, int], by_numpy: Callable
) -> None:
    x = _normal(*shape) @ torch.diag(torch.linspace(0.1, 3, shape[1], dtype=torch.float64)) + 5
    wanted = by_numpy(x.numpy())["effective_rank"]
    assert effective_rank(x).item() == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("rank", [1, 2, 5])
def test_effective_rank_counts_equal_directions(rank: int) -> None:
    columns = _normal(32, rank + 1)
    columns[:, 0] = 1  # what is orthogonal to it is centred
    mixing = torch.linalg.qr(_normal(9, rank, seed=1)).Q.T
    sample = torch.linalg.qr(columns).Q[:, 1:] @ mixing
    assert effective_rank(sample).item() == pytest.approx(rank)


@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e20])
def test_effective_rank_does_not_depend_on_scale(scale: float) -> None:
    x = _normal(30, 6)
    assert effective_rank(scale * x).item() == pytest.approx(effective_rank(x).item())


@pytest.mark.parametrize("value", [0.0, 0.1, 1e4])
def test_equal_rows_have_no_rank(value: float) -> None:
    assert effective_rank(torch.full((37, 5), value)).item() == 0  # 37 * 0.1 is rounded


def _pots(x: Tensor, quantile: Callable[[np.ndarray], np.ndarray]) -> float:
    points = quantile((np.arange(len(x)) + 0.5) / len(x))
    squares = [ot.wasserstein_1d(column, points, p=2) for column in x.numpy().T]
    return np.sqrt(squares).mean()


@pytest.mark.parametrize(
    ("target", "judge"),
    [(Normal(0.5, 2.0), stats.norm(0.5, 2.0)), (Exponential(2.0), stats.expon(scale=0.5))],
    ids=["normal", "exponential"],
)
def test_marginal_distance_is_pots_with_scipys_quantiles(target: Distribution, judge: Any) -> None:
    x = _normal(101, 6).exp()
    # torch's own distributions hold their parameters in float32
    assert marginal_distance(x, target).item() == pytest.approx(_pots(x, judge.ppf), rel=1e-6)


@pytest.mark.parametrize(
    ("p", "loc", "scale"), [(1.0, -0.5, 0.7), (1.5, 0.3, 1.2)], ids=["laplace", "p=1.5"]
)
def test_marginal_distance_of_a_rectified_target_is_pots_too(
    p: float, loc: float, scale: float, scipys_law: Callable
) -> None:
    x, law = _normal(101, 6).exp(), scipys_law(p, loc, scale)
    target = RectifiedGeneralizedGaussian(*torch.tensor([loc, scale, p], dtype=torch.float64))
    wanted = _pots(x, lambda u: np.maximum(law.ppf(u), 0))
    assert marginal_distance(x, target).item() == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("kind", [Normal, Laplace])
def test_a_target_may_differ_between_outputs(kind: type[Distribution]) -> None:
    loc, x = torch.tensor([0.0, 1.0, -2.0], dtype=torch.float64), _normal(50, 3)
    apart = [marginal_distance(x[:, [i]], kind(loc[i], 1.0)).item() for i in range(3)]
    assert marginal_distance(x, kind(loc, 1.0)).item() == pytest.approx(np.mean(apart))


@pytest.mark.parametrize("shift", [0.0, 3.0, -0.5])
def test_marginal_distance_of_shifted_quantiles_is_the_shifts_length(shift: float) -> None:
    target = GeneralizedGaussian(*torch.tensor([0.0, 1.0, 1.0], dtype=torch.float64))
    x = target.icdf((torch.arange(64, dtype=torch.float64)[:, None] + 0.5) / 64)
    x = x[torch.randperm(64, generator=torch.Generator().manual_seed(0))]
    assert marginal_distance(x + shift, target).item() == pytest.approx(abs(shift), abs=1e-12)


def _nhsic(columns: np.ndarray) -> float:
    """The definition, with explicit centring matrices and a loop over pairs."""
    n = len(columns)
    centring = np.eye(n) - np.ones((n, n)) / n
    kernels = []
    for x in columns.T:
        distances = np.abs(x[:, None] - x[None])
        between = distances[np.triu_indices(n, 1)]
        if (between > 0).any():
            width = np.median(between[between > 0])
            kernels.append(np.exp(-(distances**2) / (2 * width**2)))

    def hsic(k: np.ndarray, m: np.ndarray) -> float:
        return np.trace(k @ centring @ m @ centring) / (n - 1) ** 2

    pairs = itertools.combinations(kernels, 2)
    return np.mean([hsic(k, m) / np.sqrt(hsic(k, k) * hsic(m, m)) for k, m in pairs])


@pytest.mark.parametrize("kind", ["dense", "sparse", "dependent"])
def test_nhsic_is_the_definition(kind: str) -> None:
    x = _normal(60, 5)
    if kind == "sparse":  # nine in ten pairs of values are equal: the median of all would be 0
        x = (x - 1.5).relu()
    if kind == "dependent":
        x[:, 1] = x[:, 0] ** 2
    x[:, 3] = 7.0  # constant
    assert nhsic(x).item() == pytest.approx(_nhsic(x.numpy()), rel=1e-10)


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (-3.0, 1.0), (1e-6, 0.0)])
def test_nhsic_of_equal_outputs_is_one_at_any_scale(scale: float, shift: float) -> None:
    x = _normal(50, 1)
    assert nhsic(torch.cat([x, scale * x + shift], dim=1)).item() == pytest.approx(1)


@pytest.mark.parametrize("function", [torch.square, torch.abs])
def test_nhsic_sees_dependence_that_correlation_does_not(function: Callable) -> None:
    x = torch.linspace(-1, 1, 256, dtype=torch.float64)
    dependent = nhsic(torch.stack([x, function(x)], dim=1)).item()
    # Of independent outputs the estimate is biased upwards, by some 1 / 256 times the number of
    # directions that the kernels span, a handful.
    independent = nhsic(_normal(256, 16)).item()
    assert independent < 0.05 < 0.2 < dependent


def test_nhsic_takes_256_rows_and_64_outputs_that_are_spread() -> None:
    x = _normal(300, 130)
    assert nhsic(x).item() == pytest.approx(nhsic(x[:256, torch.arange(64) * 130 // 64]).item())


@pytest.mark.parametrize("x", [torch.ones(9, 4), _normal(9, 1)], ids=["constant", "single"])
def test_nhsic_without_a_pair_is_nan(x: Tensor) -> None:
    assert nhsic(x).isnan()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_statistics_are_float64_and_carry_no_gradient(dtype: torch.dtype) -> None:
    x = _normal(12, 4).to(dtype).requires_grad_()
    for value in (effective_rank(x), marginal_distance(x, Normal(0.0, 1.0)), nhsic(x)):
        assert value.dtype == torch.float64
        assert not value.requires_grad
