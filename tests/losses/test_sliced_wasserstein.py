# SPDX-License-Identifier: MIT
"""The distance against a slow formula, POT, finite differences, and the laws of a distance."""

import numpy as np
import pytest
import torch
from torch import Tensor

from solo_plugins.distributions import RectifiedGeneralizedGaussian, sigma_gn
from solo_plugins.losses import random_directions, sliced_wasserstein

N, D, K = 16, 5, 24
Samples = tuple[Tensor, Tensor, Tensor]


def _draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def _projections(num: int = K, dim: int = D) -> Tensor:
    return random_directions(num, dim, generator=torch.Generator().manual_seed(9))


@pytest.fixture(params=[(N, D, K), (7, 1, 3), (12, 9, 4)], ids=["16x5", "7x1", "12x9"])
def samples(request: pytest.FixtureRequest) -> Samples:
    """Return features and target (N, D) and directions (K, D) in double precision."""
    num, dim, num_projections = request.param
    directions = _projections(num_projections, dim).double()
    return _draw(num, dim), _draw(num, dim, seed=1), directions


def _slow(views: Tensor, target: Tensor, projections: Tensor) -> Tensor:
    """Plain autograd over equation 13, sorting the batch of (N, K) projections."""
    target = target.expand(len(views), -1, -1)
    projections = projections.to(views.dtype).expand(len(views), -1, -1)
    terms = [
        ((z @ c.T).sort(dim=0).values - (y @ c.T).sort(dim=0).values).square().mean()
        for z, y, c in zip(views, target, projections, strict=True)
    ]
    return torch.stack(terms).mean()


@pytest.mark.parametrize("shared_target", [True, False])
@pytest.mark.parametrize("shared_projections", [True, False])
@pytest.mark.parametrize("num_views", [1, 2, 3])
@pytest.mark.parametrize("chunk_size", [None, 1, 7, K, 100])
@pytest.mark.usefixtures("joined")
def test_value_and_gradient_are_the_slow_formulas(
    shared_target: bool, shared_projections: bool, num_views: int, chunk_size: int | None
) -> None:
    views = _draw(num_views, N, D).requires_grad_()
    target = _draw(N, D, seed=1) if shared_target else _draw(num_views, N, D, seed=1)
    projections = _projections()
    if not shared_projections:
        projections = torch.stack([projections.roll(shift, 1) for shift in range(num_views)])
    loss = sliced_wasserstein(views, target, projections, chunk_size=chunk_size)
    wanted = _slow(views, target, projections)
    torch.testing.assert_close(loss, wanted)
    (gradient,) = torch.autograd.grad(loss, views)
    torch.testing.assert_close(gradient, torch.autograd.grad(wanted, views)[0])


def test_value_agrees_with_pot(samples: Samples) -> None:
    ot = pytest.importorskip("ot")
    z, y, c = samples
    # POT returns the root and takes projections as columns
    wanted = ot.sliced_wasserstein_distance(z.numpy(), y.numpy(), projections=c.T.numpy(), p=2)
    assert sliced_wasserstein(z, y, c).sqrt().item() == pytest.approx(float(wanted), rel=1e-9)


def test_gradient_agrees_with_pots(samples: Samples) -> None:
    ot = pytest.importorskip("ot")
    z, y, c = samples
    z.requires_grad_()
    wanted = ot.sliced_wasserstein_distance(z, y, projections=c.T, p=2) ** 2
    (gradient,) = torch.autograd.grad(sliced_wasserstein(z, y, c), z)
    torch.testing.assert_close(gradient, torch.autograd.grad(wanted, z)[0])


@pytest.mark.parametrize("num_views", [1, 2])
def test_gradient_agrees_with_finite_differences(num_views: int) -> None:
    z = _draw(num_views, N, D).requires_grad_()
    y, c = _draw(N, D, seed=1), _projections()
    assert torch.autograd.gradcheck(lambda x: sliced_wasserstein(x, y, c), z)


@pytest.mark.parametrize("factor", [125.0, -0.5, 0.0])
def test_gradient_is_scaled_by_what_comes_from_above(factor: float, samples: Samples) -> None:
    z, y, c = samples
    z.requires_grad_()
    (one,) = torch.autograd.grad(sliced_wasserstein(z, y, c), z)
    (many,) = torch.autograd.grad(factor * sliced_wasserstein(z, y, c), z)
    torch.testing.assert_close(many, factor * one)


@pytest.mark.parametrize("num", [2, N, 101])
def test_one_dimension_is_the_sorted_difference(num: int) -> None:
    z, y = _draw(num, 1), _draw(num, 1, seed=1)
    wanted = np.mean((np.sort(z.numpy().ravel()) - np.sort(y.numpy().ravel())) ** 2)
    assert sliced_wasserstein(z, y, torch.ones(1, 1)).item() == pytest.approx(wanted)


def test_equal_samples_cost_nothing(samples: Samples) -> None:
    z, _, c = samples
    assert sliced_wasserstein(z, z[torch.randperm(len(z))], c).item() < 1e-28


def test_distance_is_symmetric_and_positive(samples: Samples) -> None:
    z, y, c = samples
    torch.testing.assert_close(sliced_wasserstein(z, y, c), sliced_wasserstein(y, z, c))
    assert sliced_wasserstein(z, y, c) > 0


def test_order_of_samples_does_not_matter(samples: Samples) -> None:
    z, y, c = samples
    shuffled = sliced_wasserstein(z.flip(0), y.roll(3, 0), c)
    torch.testing.assert_close(shuffled, sliced_wasserstein(z, y, c))


@pytest.mark.parametrize("scale", [1e-3, 3.0, -2.0])
def test_scaling_both_samples_scales_by_the_square(scale: float, samples: Samples) -> None:
    z, y, c = samples
    scaled = sliced_wasserstein(scale * z, scale * y, c)
    torch.testing.assert_close(scaled, scale**2 * sliced_wasserstein(z, y, c))


@pytest.mark.parametrize("p", [1.0, 2.0])
def test_a_collapsed_output_costs_the_second_moment(p: float) -> None:
    target = RectifiedGeneralizedGaussian(0.0, sigma_gn(p), p)
    y = target.sample((4096, 64), generator=torch.Generator().manual_seed(0))
    loss = sliced_wasserstein(torch.zeros(4096, 64), y, _projections(512, 64))
    # E||Y c||^2 over the sphere is E||Y||^2 / D; 262,144 draws of kurtosis 12 at p = 1, less at
    # p = 2: 2 % is 4 errors
    assert loss.item() == pytest.approx(target.second_moment.item(), rel=0.05)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_gradient_has_the_features_dtype_and_the_loss_at_least_float32(dtype: torch.dtype) -> None:
    z = _draw(N, D).to(dtype).requires_grad_()
    loss = sliced_wasserstein(z, _draw(N, D, seed=1), _projections())
    loss.backward()
    assert loss.dtype == torch.promote_types(dtype, torch.float32)
    assert z.grad.dtype == dtype


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_changes_nothing(dtype: torch.dtype) -> None:
    z, y, c = _draw(N, D).float(), _draw(N, D, seed=1).float(), _projections()
    plain = sliced_wasserstein(z, y, c)
    with torch.autocast("cpu", dtype=dtype):
        assert torch.equal(sliced_wasserstein(z, y, c), plain)


def test_without_a_gradient_the_value_is_the_same(samples: Samples) -> None:
    z, y, c = samples
    kept = z.clone()
    with_gradient = sliced_wasserstein(z.clone().requires_grad_(), y, c).detach()
    torch.testing.assert_close(sliced_wasserstein(z, y, c), with_gradient)
    assert torch.equal(z, kept)


@pytest.mark.parametrize(
    ("features", "target", "projections", "message"),
    [
        ((1, D), (1, D), (K, D), r"`features` .* at least 2 samples but got shape \(1, 1, 5\)"),
        ((N, D), (N + 1, D), (K, D), r"`target` to have shape .* but got \(17, 5\)"),
        ((2, N, D), (3, N, D), (K, D), r"`target` to have shape .* but got \(3, 16, 5\)"),
        ((N, D), (N, D), (K, D + 1), r"`projections` to have shape .* but got \(24, 6\)"),
        ((N, D), (N, D), (2, K, D), r"`projections` to have shape .* but got \(2, 24, 5\)"),
        ((N, D), (N, D), (0, D), r"at least one of the `projections`"),
    ],
)
def test_shapes_that_do_not_match_are_refused(
    features: tuple, target: tuple, projections: tuple, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        sliced_wasserstein(torch.zeros(features), torch.zeros(target), torch.zeros(projections))


@pytest.mark.parametrize("name", ["target", "projections"])
def test_constants_must_not_require_a_gradient(name: str) -> None:
    tensors = {"target": _draw(N, D, seed=1), "projections": _projections()}
    tensors[name].requires_grad_()
    with pytest.raises(ValueError, match=f"Expected `{name}` not to require a gradient"):
        sliced_wasserstein(_draw(N, D), **tensors)


@pytest.mark.parametrize("shapes", [[], [(N, D), (N + 1, D)]], ids=["none", "unequal"])
def test_views_of_different_shapes_are_refused(shapes: list[tuple[int, int]]) -> None:
    with pytest.raises(ValueError, match=r"`features` to be views of one shape .* but got \["):
        sliced_wasserstein([torch.zeros(shape) for shape in shapes], _draw(N, D), _projections())


@pytest.mark.parametrize("chunk_size", [0, -1])
def test_a_chunk_size_that_is_not_positive_is_refused(chunk_size: int) -> None:
    message = f"Expected `chunk_size` to be positive but got {chunk_size}"
    with pytest.raises(ValueError, match=message):
        sliced_wasserstein(_draw(N, D), _draw(N, D), _projections(), chunk_size=chunk_size)


@pytest.mark.parametrize("how", ["scaled", "penalty", "curved"])
def test_a_second_derivative_is_refused(how: str) -> None:
    # of a gradient that is taken for a constant half of a penalty's derivative would be missing
    weight = torch.ones(D, requires_grad=True)
    z = _draw(N, D).requires_grad_() if how == "scaled" else _draw(N, D) * weight
    loss = sliced_wasserstein(
        z.square() if how == "curved" else z, _draw(N, D, seed=1), _projections()
    )
    loss = loss * weight[0] if how == "scaled" else loss
    (gradient,) = torch.autograd.grad(loss, z, create_graph=True)
    with pytest.raises(RuntimeError, match="once but got a second derivative"):
        gradient.square().sum().backward()


def test_a_graph_of_the_gradient_may_be_there_and_not_be_used() -> None:
    z = _draw(N, D).requires_grad_()
    loss = sliced_wasserstein(z, _draw(N, D, seed=1), _projections())
    (wanted,) = torch.autograd.grad(loss, z, retain_graph=True)
    (gradient,) = torch.autograd.grad(loss + z.square().sum() / 2, z, create_graph=True)
    assert torch.equal(gradient, wanted + z)
    assert gradient.requires_grad
