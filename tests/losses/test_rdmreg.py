# SPDX-License-Identifier: MIT
"""The loss as a module: what it draws, and what it takes in place of a draw."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from solo_plugins.distributions import GeneralizedGaussian, RectifiedGeneralizedGaussian
from solo_plugins.losses import (
    DIRECTIONS,
    RandomDirections,
    RDMReg,
    random_directions,
    sliced_wasserstein,
)
from solo_plugins.losses.projections import DenseProjections, Piece

# of both signs, on purpose
pytestmark = pytest.mark.filterwarnings("ignore:Some outputs are negative")

N, D, K = 16, 5, 24


def _draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _module(**settings: int) -> RDMReg:
    return RDMReg(RectifiedGeneralizedGaussian(0.0, 1.0, 1.0), RandomDirections(K), **settings)


@pytest.mark.parametrize("kind", [torch.stack, list], ids=["tensor", "list"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_module_takes_tensors_in_place_of_draws(dtype: torch.dtype, kind: Callable) -> None:
    z, y = _draw(2, N, D).to(dtype), _draw(N, D, seed=1).to(dtype)
    c = random_directions(K, D, generator=torch.Generator().manual_seed(9))
    got = _module()(kind(tuple(z)), target=y, projections=c)
    torch.testing.assert_close(got, sliced_wasserstein(z, y, c))


@pytest.mark.parametrize("share_target", [True, False])
def test_module_draws_a_target_for_each_view_or_for_all(share_target: bool) -> None:
    z = _draw(1, N, D).repeat(2, 1, 1).requires_grad_()
    generator = torch.Generator().manual_seed(0)
    (gradient,) = torch.autograd.grad(_module(share_target=share_target)(z, generator=generator), z)
    # equal views have equal gradients just when they have one target
    assert torch.allclose(gradient[0], gradient[1]) is share_target


@pytest.mark.parametrize("kind", sorted(DIRECTIONS))
@pytest.mark.parametrize("share_target", [True, False])
def test_a_target_is_drawn_once_for_each_view_or_for_all(kind: str, share_target: bool) -> None:
    class Counted(RectifiedGeneralizedGaussian):
        drawn = 0

        def sample(self, sample_shape: Any = (), **kwargs: Any) -> Tensor:
            drawn = super().sample(sample_shape, **kwargs)
            Counted.drawn += drawn.numel()
            return drawn

    rdm_reg = RDMReg(Counted(0.0, 1.0, 1.0), DIRECTIONS[kind](K), share_target=share_target)
    rdm_reg(_draw(3, N, D))
    assert Counted.drawn == (1 if share_target else 3) * N * D


@pytest.mark.parametrize("kind", ["random", "hadamard"])
def test_gradients_are_contiguous(kind: str) -> None:
    """ReLU's gradient of a transposed one takes thirty times as long."""
    z = [part.requires_grad_() for part in _draw(2, N, D)]
    target = RectifiedGeneralizedGaussian(0.0, 1.0, 1.0)
    loss = RDMReg(target, DIRECTIONS[kind](K))(z)
    assert all(gradient.is_contiguous() for gradient in torch.autograd.grad(loss, z))


def test_each_view_has_its_own_target_by_default() -> None:
    assert not _module().share_target  # as in the reference implementation


def test_the_modules_chunks_are_as_large_as_asked() -> None:
    asked = []

    class Asked(DenseProjections):
        def pieces(self, rows: range, chunk_size: int) -> Sequence[Piece]:
            asked.append(chunk_size)
            return super().pieces(rows, chunk_size)

    _module(chunk_size=3)(_draw(2, N, D), projections=Asked(random_directions(K, D)))
    assert asked == [3, 3]  # of each view


def test_module_has_no_state_and_repeats_under_a_seed() -> None:
    module, z = _module(), _draw(2, N, D)
    values = [module(z, generator=torch.Generator().manual_seed(5)).item() for _ in range(2)]
    assert values[0] == values[1]
    assert not module.state_dict()
    assert "RandomDirections" in repr(module)


@pytest.mark.parametrize("z", [np.zeros((N, D)), [[0.0] * D] * N], ids=["array", "lists"])
def test_what_are_no_tensors_is_refused(z: Any) -> None:
    kind = type(z[0]).__name__
    with pytest.raises(TypeError, match=f"Expected `features` to be a tensor but got {kind}"):
        _module()(z)


@pytest.mark.parametrize("chunk_size", [0, -1])
def test_a_chunk_size_that_is_not_positive_is_refused(chunk_size: int) -> None:
    with pytest.raises(ValueError, match=f"`chunk_size` to be positive but got {chunk_size}"):
        _module(chunk_size=chunk_size)


TARGET = RectifiedGeneralizedGaussian(0.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((RandomDirections(8), TARGET), "`target` to be a distribution.* but got RandomDirections"),
        (
            (torch.distributions.Normal(0.0, 1.0), RandomDirections(8)),
            "`target` to be a distribution whose `sample` takes .* but got Normal",
        ),
        ((["a"], RandomDirections(8)), "`target` to be a distribution.* but got list"),
        (
            (RectifiedGeneralizedGaussian, RandomDirections(8)),
            "but got the class Rectified",
        ),
        ((TARGET, 256), "`directions` to be a way to draw them.* but got int"),
        ((TARGET, RandomDirections), "but got the class RandomDirections"),
    ],
)
def test_parts_of_another_kind_are_named_at_once(arguments: tuple, says: str) -> None:
    with pytest.raises(TypeError, match=says):
        RDMReg(*arguments)


def test_views_one_by_one_and_integers_are_refused() -> None:
    rdm_reg, z = RDMReg(TARGET, RandomDirections(8)), torch.rand(4, 3)
    with pytest.raises(TypeError, match=r"`rdm_reg\(\[z1, z2\]\)`, but got 2 arguments"):
        rdm_reg(z, z)
    with pytest.raises(TypeError, match=r"floating point but got torch.int64"):
        rdm_reg(torch.ones(4, 3, dtype=torch.int64))


@pytest.mark.parametrize(
    ("target", "z", "number"),
    [
        (RectifiedGeneralizedGaussian, _draw(N, D), 1),
        (RectifiedGeneralizedGaussian, _draw(N, D).relu(), 0),
        (GeneralizedGaussian, _draw(N, D), 0),
    ],
    ids=["negative", "rectified", "dense target"],
)
def test_negative_outputs_with_a_rectified_target_are_said_where_they_are_given(
    target: type, z: Tensor, number: int
) -> None:
    rdm_reg = RDMReg(target(0.0, 1.0, 1.0), RandomDirections(K))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            rdm_reg(z)
    said = [one for one in caught if "has to end in a ReLU" in str(one.message)]
    assert [one.filename for one in said] == [__file__] * number


def test_a_target_of_ones_own_may_take_any_arguments() -> None:
    class Halves:
        def sample(self, shape: tuple[int, ...], **_: object) -> Tensor:
            return torch.full(shape, 0.5)

    loss = RDMReg(Halves(), RandomDirections(K))  # type: ignore[arg-type]
    # Both samples are constant: along each direction they are apart by nothing.
    assert loss([torch.full((N, D), 0.5)] * 2) == pytest.approx(0, abs=1e-12)
    assert loss([torch.full((N, D), 1.5)] * 2) > 0
