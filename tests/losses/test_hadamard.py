# SPDX-License-Identifier: MIT
"""Hadamard directions against scipy's matrix, the dense product, and random directions."""

from collections import Counter
from statistics import NormalDist

import pytest
import torch
from scipy.linalg import hadamard
from torch import Tensor

from solo_plugins.losses import HadamardDirections, HadamardProjections, sliced_wasserstein
from solo_plugins.losses.buffers import Buffers
from solo_plugins.losses.directions import random_directions

# What a block asks of torch; numpy multiplies and sorts.
_COMPUTED = {"add", "copy_", "scatter_", "sub_"}
DIMS = (2, 3, 17, 64, 384, 512, 768, 1000)


def _draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _given(num: int, dim: int, mixed: bool = False) -> tuple[HadamardProjections, Tensor]:
    """Projections of known signs and places, and their rows by scipy's matrices in float64."""
    size = 1 << (dim - 1).bit_length()
    signs = _draw(-(-num // size), size).sign()
    places = _draw(size, seed=1).argsort()[:dim]
    blocks = torch.from_numpy(hadamard(size)) * signs.unsqueeze(1)  # (blocks, size, size)
    rows = blocks.flatten(0, 1)[:num, places] / dim**0.5
    if not mixed:
        return HadamardProjections(num, signs.float(), places), rows
    mix, order = _draw(dim, seed=2).sign(), places.argsort()
    whole = torch.eye(dim, dtype=torch.float64)
    for start in range(0, dim - 7, 8):
        whole[start : start + 8, start : start + 8] = (
            torch.from_numpy(hadamard(8)).double() / 8**0.5
        )
    rows = rows[:, order] @ whole * mix
    return HadamardProjections(num, signs.float(), places, mix.float()), rows[:, order.argsort()]


@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize("mixed", [False, True])
def test_rows_are_scipys_matrix_with_signs_and_of_unit_length(dim: int, mixed: bool) -> None:
    projections, rows = _given(2 * dim + 3, dim, mixed)
    # sums of at most 2048 float64 numbers: what is rounded to float32 anywhere would be 6e-8 apart
    dense = projections.dense(torch.float64)
    torch.testing.assert_close(dense, rows, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(dense.norm(dim=1), torch.ones(len(rows), dtype=torch.float64))


@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize("num", [1, 7, 100, 1030])
@pytest.mark.parametrize("chunk_size", [None, 1, 100])
@pytest.mark.usefixtures("joined")
def test_value_and_gradient_are_the_dense_matrixs(
    dim: int, num: int, chunk_size: int | None
) -> None:
    projections, rows = _given(num, dim, mixed=num == 100)
    z, y = _draw(2, 6, dim).requires_grad_(), _draw(2, 6, dim, seed=1)
    loss = sliced_wasserstein(z, y, projections, chunk_size=chunk_size)
    wanted = sliced_wasserstein(z, y, rows)
    torch.testing.assert_close(loss, wanted)
    (gradient,) = torch.autograd.grad(loss, z)
    torch.testing.assert_close(gradient, torch.autograd.grad(wanted, z)[0])


@pytest.mark.parametrize("dim", [17, 512])
def test_any_share_of_the_rows_is_that_share_of_the_matrix(dim: int) -> None:
    projections, rows = _given(1100, dim)
    z = _draw(1, 5, dim)
    for share in (range(3, 5), range(60, 700), range(1024, 1099), range(31, 1100)):
        buffers = Buffers(z.device)
        columns = projections.enter(z[0], buffers)
        parts = [
            piece.project(columns, 0, buffers, "outputs").clone()
            for piece in projections.pieces(share, 64)
        ]
        torch.testing.assert_close(torch.cat(parts), (z[0] @ rows[share.start : share.stop].T).T)


@pytest.mark.parametrize("dim", [16, 512])
def test_directions_of_a_block_are_orthogonal_at_powers_of_two(dim: int) -> None:
    rows = HadamardDirections(dim)([torch.zeros(1, dim)]).dense(torch.float64)
    torch.testing.assert_close(rows @ rows.T, torch.eye(dim, dtype=torch.float64))


def test_blocks_have_signs_and_calls_have_places_of_their_own() -> None:
    directions = HadamardDirections(128)
    first, second = directions([torch.zeros(1, 64)]).dense().split(64)
    assert not torch.equal(first, second)
    again = directions([torch.zeros(1, 64)]).dense()[:64]
    assert not torch.equal(first, again)


def test_entries_are_as_uneven_as_the_mean_of_eight_signs() -> None:
    rows = HadamardDirections(4096)([torch.zeros(1, 512)]).dense(torch.float64) * 512**0.5
    # a sum of n signs / n**.5 has a fourth moment of 3 - 2 / n; a normal one has 3
    # The rows of a block take the same signs of a group in other orders: 8 blocks of 64 groups of 8
    # are 512 draws. Over all 256 choices of signs a group's mean has this deviation:
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 8).double()
    deviation = (
        (signs @ torch.tensor(hadamard(8)).double() / 8**0.5).pow(4).mean(dim=1).std(correction=0)
    )
    assert abs(rows.pow(4).mean() - (3 - 2 / 8)) < 5 * deviation / 512**0.5


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_float32_agrees_with_float64(dtype: torch.dtype) -> None:
    projections, rows = _given(600, 48)
    z, y = _draw(64, 48).to(dtype).requires_grad_(), _draw(64, 48, seed=1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = sliced_wasserstein(z, y, projections)
    loss.backward()
    exact = z.detach().double().requires_grad_()
    wanted = sliced_wasserstein(exact, y, rows)
    wanted.backward()
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss.double(), wanted, rtol=1e-5, atol=0)
    # In float32 two values that differ by its rounding may change places: the gradient of both
    # moves by a gap of the target, of which the mean over 600 directions is left.
    tolerance = max(1e-3, 4 * torch.finfo(dtype).eps) * exact.grad.abs().max().item()
    torch.testing.assert_close(z.grad.double(), exact.grad, rtol=0, atol=tolerance)


@pytest.mark.parametrize("dim", [64, 100, 512])
def test_the_mean_over_draws_is_that_of_random_directions(dim: int) -> None:
    generator = torch.Generator().manual_seed(0)
    num, draws = 64, 300
    z = torch.rand(32, dim, generator=generator).pow(3)
    y = torch.empty(32, dim).exponential_(generator=generator)
    directions = HadamardDirections(num)
    values = torch.tensor(
        [
            [
                sliced_wasserstein(z, y, directions([z], generator=generator)).item(),
                sliced_wasserstein(z, y, random_directions(num, dim, generator=generator)).item(),
            ]
            for _ in range(draws)
        ],
        dtype=torch.float64,
    )
    difference = (values[:, 0] - values[:, 1]).mean()
    error = (values.var(dim=0).sum() / draws).sqrt()
    # two-sided, at a false-alarm rate of 1e-3
    assert abs(difference) < NormalDist().inv_cdf(1 - 5e-4) * error


def test_one_output_is_refused() -> None:
    with pytest.raises(ValueError, match="`features` to have at least 2 outputs but got 1"):
        HadamardDirections(4)([torch.zeros(5, 1)])
    assert HadamardDirections(4)([torch.zeros(5, 2)]).dense().shape == (4, 2)


def test_blocks_share_their_views() -> None:
    """After each operation, a view too, one of several threads waits for Python's lock."""
    views = _draw(2, 64, 256).float()
    counts = []
    for blocks in (8, 24):
        projections, _ = _given(blocks * 256, 256)
        z = views.clone().requires_grad_()
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            sliced_wasserstein(z, views.flip(0), projections, chunk_size=512).backward()
        (walk,) = (event for event in profile.events() if event.name == "_SortedDifference")
        operations = [event.name for event in profile.events() if event.cpu_parent is walk]
        counts.append(Counter(operations))
    more = {name.removeprefix("aten::") for name in counts[1] - counts[0]}
    assert more <= _COMPUTED
