# SPDX-License-Identifier: MIT
"""SIGReg against the closed form of its integral, and against lightly's where installed."""

import re

import pytest
import torch
from torch import Tensor

from solo_plugins.losses import SIGReg, epps_pulley, random_directions

N, K = 12, 6


def _samples(number: int = N, width: int = K, *, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(number, width, generator=generator, dtype=torch.float64)


def _closed_form(x: Tensor) -> Tensor:
    """The integral over the whole line, (N, K) to (K,), from those of Gaussians times cosines."""
    number, pi = len(x), torch.tensor(torch.pi, dtype=x.dtype)
    pairs = torch.exp(-(x.unsqueeze(0) - x.unsqueeze(1)).square() / 2).mean(dim=(0, 1))
    singles = torch.exp(-x.square() / 4).mean(dim=0)
    return number * ((2 * pi).sqrt() * pairs - 2 * pi.sqrt() * singles + (2 * pi / 3).sqrt())


@pytest.mark.parametrize("location", [0.0, 1.5])
@pytest.mark.parametrize("scale", [0.3, 1.0, 2.0])
def test_the_statistic_is_the_closed_form_of_its_integral(location: float, scale: float) -> None:
    x = location + scale * _samples()
    # At T = 10 the weight is 2e-22, and the trapezoidal rule is spectral for such integrands.
    got = epps_pulley(x, num_knots=400, max_frequency=10.0)
    torch.testing.assert_close(got, _closed_form(x), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("scale", [0.5, 1.0, 1.5])
def test_the_default_knots_are_near_the_integral(scale: float) -> None:
    x = scale * _samples(64)
    # Beyond T = 3 lies .27 % of the weight.
    torch.testing.assert_close(epps_pulley(x), _closed_form(x), rtol=0.02, atol=0.02)


def test_normal_samples_have_the_expected_statistic() -> None:
    # sqrt(2 pi) - sqrt(2 pi / 3) = 1.0594 for any N. 4,000 columns: the standard error, from the
    # statistic's standard deviation of about 1, is .016; four of them are one false alarm in 10^4.
    got = epps_pulley(_samples(50, 4000), num_knots=100, max_frequency=8.0).mean()
    assert got.item() == pytest.approx(1.0594, abs=0.064)


@pytest.mark.parametrize("shape", [(2, 1), (5, 2), (3, 7)], ids=str)
def test_gradients_are_those_of_finite_differences(shape: tuple[int, int]) -> None:
    x = _samples(*shape).requires_grad_()
    assert torch.autograd.gradcheck(epps_pulley, (x,))


@pytest.mark.parametrize("change", ["shift", "scale", "rectify", "collapse"])
def test_what_is_not_standard_normal_costs_more(change: str) -> None:
    x = _samples(256, 64).float()
    others = {"shift": x + 1, "scale": 2 * x, "rectify": x.relu(), "collapse": 0 * x}
    assert SIGReg(128)([others[change]]) > 3 * SIGReg(128)([x])


@pytest.mark.parametrize("num_views", [1, 2, 3])
def test_views_and_directions_are_averaged(num_views: int) -> None:
    views = [(seed + 1) * _samples(seed=seed).float() for seed in range(num_views)]
    c = random_directions(8, K)
    wanted = torch.stack([epps_pulley(view @ c.T).mean() for view in views]).mean()
    torch.testing.assert_close(SIGReg(8)(views, projections=c), wanted)


def test_directions_come_from_the_generator_alone() -> None:
    drawn = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        generator = torch.Generator().manual_seed(3)
        drawn.append(SIGReg(4)([_samples().float()], generator=generator))
    assert torch.equal(*drawn)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_test_runs_in_float32_under_autocast(dtype: torch.dtype) -> None:
    views, c = [_samples().to(dtype)], random_directions(8, K)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = SIGReg(8)(views, projections=c)
    assert got.dtype == torch.float32
    assert torch.equal(got, SIGReg(8)([views[0].float()], projections=c))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_knots": 1}, "`num_knots` to be at least 2 but got 1"),
        ({"max_frequency": 0.0}, "`max_frequency` to be positive but got 0.0"),
    ],
)
def test_impossible_knots_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        epps_pulley(_samples(), **settings)


def test_lightlys_loss_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    lightly = pytest.importorskip("lightly.loss.lejepa_loss")
    views, c = [_samples(seed=0).float(), _samples(seed=1).float()], random_directions(8, K)
    monkeypatch.setattr(lightly.SIGReg, "_generate_unit_vectors", lambda *_: c.T)
    wanted = lightly.SIGReg(num_vectors=8)(torch.stack(views))
    torch.testing.assert_close(SIGReg(8)(views, projections=c), wanted)


@pytest.mark.parametrize(("num_knots", "max_frequency"), [(2, 3.0), (5, 3.0), (17, 1.0)])
def test_the_module_takes_its_own_knots(num_knots: int, max_frequency: float) -> None:
    views, rows = [_samples(8, 3).float(), 2 * _samples(8, 3).float()], torch.eye(3)[:2]
    module = SIGReg(2, num_knots=num_knots, max_frequency=max_frequency)
    wanted = [
        epps_pulley(view[:, :2], num_knots=num_knots, max_frequency=max_frequency).mean()
        for view in views
    ]
    torch.testing.assert_close(module(views, projections=rows), sum(wanted) / 2)


@pytest.mark.parametrize("shape", [(5,), (0, 5), (5, 0)], ids=str)
def test_samples_of_another_shape_are_named(shape: tuple[int, ...]) -> None:
    said = rf"^Expected `samples` to be of shape .* but got {re.escape(str(shape))}\.$"
    with pytest.raises(ValueError, match=said):
        epps_pulley(torch.ones(shape))
