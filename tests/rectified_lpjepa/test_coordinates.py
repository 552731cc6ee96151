# SPDX-License-Identifier: MIT
"""Sorted outputs and averaged targets against slow formulas, numpy, POT and expectations."""

import numpy as np
import pytest
import torch
from torch import Tensor

from solo_plugins.rectified_lpjepa import rdmreg
from solo_plugins.rectified_lpjepa.directions import RandomDirections, random_directions
from solo_plugins.rectified_lpjepa.distribution import RectifiedGeneralizedGaussian
from solo_plugins.rectified_lpjepa.rdmreg import (
    RDMReg,
    coordinate_wasserstein,
    sliced_wasserstein,
)

N, D, K = 16, 5, 24
TARGET = RectifiedGeneralizedGaussian(0.0, 1.0, 1.0)


def _draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def _projections(num: int = K) -> Tensor:
    return random_directions(num, D, generator=torch.Generator().manual_seed(9))


def _slow(views: Tensor, target: Tensor, projections: Tensor) -> Tensor:
    """Plain autograd: target (R, V or 1, N, D), projections (V or 1, K, D)."""
    c = projections.to(views.dtype).mT
    wanted = (target @ c).sort(dim=-2).values.mean(dim=0)
    return ((views @ c).sort(dim=-2).values - wanted).square().mean()


def _assert_same_with_gradient(loss: Tensor, wanted: Tensor, views: Tensor) -> None:
    torch.testing.assert_close(loss, wanted)
    (gradient,) = torch.autograd.grad(loss, views)
    torch.testing.assert_close(gradient, torch.autograd.grad(wanted, views)[0])


@pytest.mark.parametrize("draws", [1, 3])
@pytest.mark.parametrize("shared_target", [True, False])
@pytest.mark.parametrize("num_views", [1, 2, 3])
@pytest.mark.parametrize("chunk_size", [None, 1, 2, D, 100])
def test_coordinates_are_the_slow_formulas(
    draws: int, shared_target: bool, num_views: int, chunk_size: int | None
) -> None:
    views = _draw(num_views, N, D).requires_grad_()
    target = _draw(draws, 1 if shared_target else num_views, N, D, seed=1)
    loss = coordinate_wasserstein(views, target, chunk_size=chunk_size)
    _assert_same_with_gradient(loss, _slow(views, target, torch.eye(D)), views)


@pytest.mark.parametrize("draws", [1, 3])
@pytest.mark.parametrize("shared_target", [True, False])
@pytest.mark.parametrize("shared_projections", [True, False])
@pytest.mark.parametrize("chunk_size", [None, 7])
def test_averaged_projections_are_the_slow_formulas(
    draws: int, shared_target: bool, shared_projections: bool, chunk_size: int | None
) -> None:
    views = _draw(2, N, D).requires_grad_()
    target = _draw(draws, 1 if shared_target else 2, N, D, seed=1)
    projections = _projections()
    if not shared_projections:
        projections = torch.stack([projections, projections.roll(1, 1)])
    loss = sliced_wasserstein(views, target, projections, chunk_size=chunk_size)
    _assert_same_with_gradient(loss, _slow(views, target, projections), views)


@pytest.mark.parametrize("target_shape", [(N, D), (2, N, D)])
def test_a_target_without_draws_is_one_draw(target_shape: tuple[int, ...]) -> None:
    views, target = _draw(2, N, D), _draw(*target_shape, seed=1)
    wanted = _slow(views, target.expand(1, 2, N, D), torch.eye(D))
    torch.testing.assert_close(coordinate_wasserstein([*views], target), wanted)


def test_value_agrees_with_numpy() -> None:
    z, y = _draw(N, D).numpy(), _draw(N, D, seed=1).numpy()
    wanted = np.mean((np.sort(z, axis=0) - np.sort(y, axis=0)) ** 2)
    loss = coordinate_wasserstein(torch.from_numpy(z), torch.from_numpy(y))
    assert loss.item() == pytest.approx(wanted, rel=1e-12)


def test_value_and_gradient_agree_with_pot() -> None:
    ot = pytest.importorskip("ot")
    z, y = _draw(N, D).requires_grad_(), _draw(N, D, seed=1)
    wanted = ot.wasserstein_1d(z, y, p=2).mean()  # one squared distance for each column
    _assert_same_with_gradient(coordinate_wasserstein(z, y), wanted, z)


@pytest.mark.parametrize("draws", [1, 3])
def test_gradient_agrees_with_finite_differences(draws: int) -> None:
    z, y = _draw(2, N, D).requires_grad_(), _draw(draws, 1, N, D, seed=1)
    assert torch.autograd.gradcheck(lambda x: coordinate_wasserstein(x, y), z)
    assert torch.autograd.gradcheck(lambda x: sliced_wasserstein(x, y, _projections()), z)


def test_gradient_is_scaled_by_what_comes_from_above() -> None:
    z, y = _draw(N, D).requires_grad_(), _draw(N, D, seed=1)
    (one,) = torch.autograd.grad(coordinate_wasserstein(z, y), z)
    (many,) = torch.autograd.grad(125 * coordinate_wasserstein(z, y), z)
    torch.testing.assert_close(many, 125 * one)


@pytest.mark.parametrize("dim", [1, D])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("wants_gradient", [True, False])
def test_samples_stay_as_they_were(dim: int, dtype: torch.dtype, wants_gradient: bool) -> None:
    # one output is already a row: a sort in place would reach the caller's tensor
    z = _draw(1, N, dim, dtype=dtype).requires_grad_(wants_gradient)
    y = _draw(2, 1, N, dim, seed=1, dtype=dtype)
    kept = z.detach().clone(), y.clone()
    loss = coordinate_wasserstein(z, y)
    assert torch.equal(z, kept[0])
    assert torch.equal(y, kept[1])
    torch.testing.assert_close(loss, _slow(z, y, torch.eye(dim)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_gradient_has_the_features_dtype_and_the_loss_at_least_float32(dtype: torch.dtype) -> None:
    z, y = _draw(N, D).to(dtype).requires_grad_(), _draw(N, D, seed=1)
    loss = coordinate_wasserstein(z, y)
    loss.backward()
    assert loss.dtype == torch.promote_types(dtype, torch.float32)
    assert z.grad.dtype == dtype
    wanted = _slow(z.detach().double(), y.expand(1, 1, N, D), torch.eye(D))
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-5)  # of float32's 24 bits


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_changes_nothing(dtype: torch.dtype) -> None:
    z, y = _draw(2, N, D).float(), _draw(3, 1, N, D, seed=1).float()
    plain = _module(coordinate_weight=0.3)(z, target=y, projections=_projections())
    with torch.autocast("cpu", dtype=dtype):
        autocast = _module(coordinate_weight=0.3)(z, target=y, projections=_projections())
    assert torch.equal(autocast, plain)


def test_order_of_samples_and_of_draws_does_not_matter() -> None:
    z, y = _draw(N, D), _draw(3, 1, N, D, seed=1)
    shuffled = coordinate_wasserstein(z.flip(0), y.roll(3, dims=2).flip(0))
    torch.testing.assert_close(shuffled, coordinate_wasserstein(z, y))


@pytest.mark.parametrize("coordinate_weight", [0.0, 0.3, 1.0])
def test_the_gradient_of_several_draws_is_the_mean_of_theirs(coordinate_weight: float) -> None:
    # the squared difference is quadratic: its gradient is linear in the sorted target
    z, y, c = _draw(N, D).requires_grad_(), _draw(4, 1, N, D, seed=1), _projections()
    module = _module(coordinate_weight=coordinate_weight)
    (gradient,) = torch.autograd.grad(module(z, target=y, projections=c), z)
    each = [torch.autograd.grad(module(z, target=d[0], projections=c), z)[0] for d in y]
    torch.testing.assert_close(gradient, torch.stack(each).mean(dim=0))


@pytest.mark.parametrize("coordinate_weight", [0.0, 1.0])
@pytest.mark.parametrize("draws", [4, 16])
def test_more_draws_lower_the_floor_of_a_true_sample(coordinate_weight: float, draws: int) -> None:
    # Two samples of the target: an order statistic of variance s^2 differs from another draw's by
    # 2 s^2 in the mean of squares, from the mean of R draws' by (1 + 1/R) s^2. The factor is
    # (1 + 1/R) / 2. Over seeds the ratio spreads by 2.7 % at most with 4000 independent pairs: 10 %
    # is beyond 3.5 such errors, and less than what 4 draws and 16 differ by.
    pairs = 4000
    generator = torch.Generator().manual_seed(0)
    z = TARGET.sample((pairs, N, 1), generator=generator)
    y = TARGET.sample((draws, pairs, N, 1), generator=generator)
    module = _module(coordinate_weight=coordinate_weight)
    one, many = (module(z, target=t, projections=torch.ones(1, 1)) for t in (y[0], y))
    assert (many / one).item() == pytest.approx((1 + 1 / draws) / 2, rel=0.1)


def _module(**settings: float) -> RDMReg:
    return RDMReg(TARGET, RandomDirections(K), **settings)


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(5)


def test_the_weight_mixes_the_two_distances() -> None:
    z, y, c = _draw(2, N, D).requires_grad_(), _draw(2, N, D, seed=1), _projections()
    loss = _module(coordinate_weight=0.3)(z, target=y, projections=c)
    wanted = 0.7 * _slow(z, y[None], c) + 0.3 * _slow(z, y[None], torch.eye(D))
    _assert_same_with_gradient(loss, wanted, z)


def test_both_options_are_off_by_default_to_the_last_bit() -> None:
    z, generator = _draw(2, N, D).float(), _generator()
    c = random_directions(K, D, generator=generator)
    y = TARGET.sample((2, N, D), generator=generator)
    assert torch.equal(_module()(z, generator=_generator()), sliced_wasserstein(z, y, c))
    off = _module(coordinate_weight=0.0, target_draws=1)
    assert torch.equal(off(z, generator=_generator()), sliced_wasserstein(z, y, c))


def test_without_the_weight_no_outputs_are_sorted(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    original = rdmreg.coordinate_wasserstein
    monkeypatch.setattr(
        rdmreg, "coordinate_wasserstein", lambda *a, **k: calls.append(a) or original(*a, **k)
    )
    for weight, expected in ((0.0, 0), (0.3, 1)):
        _module(coordinate_weight=weight)(_draw(2, N, D).float())
        assert len(calls) == expected


def test_with_the_whole_weight_no_directions_are_drawn() -> None:
    module = RDMReg(TARGET, lambda *_, **__: pytest.fail("drawn"), coordinate_weight=1.0)
    z = _draw(2, N, D).float()
    y = TARGET.sample((1, 2, N, D), generator=_generator())
    loss = module(z, generator=_generator())
    torch.testing.assert_close(loss, _slow(z, y, torch.eye(D)))


@pytest.mark.parametrize("coordinate_weight", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("share_target", [True, False])
def test_module_draws_targets_one_after_the_other(
    coordinate_weight: float, share_target: bool
) -> None:
    z, generator = _draw(2, N, D).float(), _generator()
    c = random_directions(K, D, generator=generator) if coordinate_weight < 1 else torch.eye(D)
    shape = (1 if share_target else 2, N, D)
    y = torch.stack([TARGET.sample(shape, generator=generator) for _ in range(3)])
    module = _module(coordinate_weight=coordinate_weight, share_target=share_target, target_draws=3)
    sliced, outputs = _slow(z, y, c), _slow(z, y, torch.eye(D))
    wanted = (1 - coordinate_weight) * sliced + coordinate_weight * outputs
    torch.testing.assert_close(module(z, generator=_generator()), wanted)


def test_module_repeats_under_a_generator_and_leaves_the_global_one() -> None:
    module, z = _module(coordinate_weight=0.3, target_draws=3), _draw(2, N, D).float()
    state = torch.get_rng_state()
    values = [module(z, generator=_generator()) for _ in range(2)]
    assert torch.equal(*values)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_options_are_in_the_modules_line() -> None:
    line = repr(_module(coordinate_weight=0.3, target_draws=3))
    assert "coordinate_weight=0.3" in line
    assert "target_draws=3" in line


@pytest.mark.parametrize("coordinate_weight", [-0.1, 1.1, float("nan")])
def test_a_weight_outside_0_to_1_is_refused(coordinate_weight: float) -> None:
    message = rf"Expected `coordinate_weight` to be between 0 and 1 but got {coordinate_weight}\."
    with pytest.raises(ValueError, match=message):
        _module(coordinate_weight=coordinate_weight)


@pytest.mark.parametrize("target_draws", [0, -1])
def test_less_than_one_draw_is_refused(target_draws: int) -> None:
    message = rf"Expected `target_draws` to be positive but got {target_draws}\."
    with pytest.raises(ValueError, match=message):
        _module(target_draws=target_draws)


@pytest.mark.parametrize(
    ("features", "target", "message"),
    [
        ((1, D), (1, D), r"`features` .* at least 2 samples but got shape \(1, 1, 5\)"),
        ((N, D), (N + 1, D), r"`target` to have shape .* but got \(17, 5\)"),
        ((2, N, D), (3, N, D), r"`target` to have shape .* but got \(3, 16, 5\)"),
        ((2, N, D), (4, 3, N, D), r"for R draws, .* but got \(4, 3, 16, 5\)"),
        ((2, N, D), (0, 1, N, D), r"for R draws, .* but got \(0, 1, 16, 5\)"),
        ((2, N, D), (1, 1, 1, N, D), r"for R draws, .* but got \(1, 1, 1, 16, 5\)"),
    ],
)
def test_shapes_that_do_not_match_are_refused(
    features: tuple[int, ...], target: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        coordinate_wasserstein(torch.zeros(features), torch.zeros(target))


def test_a_target_that_requires_a_gradient_is_refused() -> None:
    with pytest.raises(ValueError, match="Expected `target` not to require a gradient"):
        coordinate_wasserstein(_draw(N, D), _draw(N, D).requires_grad_())


@pytest.mark.parametrize("chunk_size", [0, -1])
def test_a_chunk_size_that_is_not_positive_is_refused(chunk_size: int) -> None:
    with pytest.raises(ValueError, match=f"`chunk_size` to be positive but got {chunk_size}"):
        coordinate_wasserstein(_draw(N, D), _draw(N, D), chunk_size=chunk_size)
