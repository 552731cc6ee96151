# SPDX-License-Identifier: MIT
"""Unit length, orthogonality, uniformity, and agreement with numpy's SVD."""

import numpy as np
import pytest
import torch
from scipy.stats import kstest, norm

from solo_plugins.losses import (
    DIRECTIONS,
    SingularDirections,
    orthogonal_directions,
    random_directions,
    singular_directions,
)


def _features(num_samples: int = 12, dim: int = 6) -> torch.Tensor:
    return torch.randn(num_samples, dim, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", DIRECTIONS)
def test_every_kind_gives_unit_rows(name: str) -> None:
    projections = DIRECTIONS[name](16)([_features(), _features() + 1])
    rows = projections.dense()
    assert (projections.num, projections.dim) == (16, 6)
    assert rows.shape[-2:] == (16, 6)
    assert rows.dtype == torch.float32
    torch.testing.assert_close(rows.norm(dim=-1), torch.ones(rows.shape[:-1]))


@pytest.mark.parametrize("name", DIRECTIONS)
def test_equal_generators_give_equal_directions(name: str) -> None:
    first, second = (
        DIRECTIONS[name](16)([_features()], generator=torch.Generator().manual_seed(2)).dense()
        for _ in range(2)
    )
    assert torch.equal(first, second)


@pytest.mark.parametrize("draw", [random_directions, orthogonal_directions])
def test_directions_are_uniform_on_the_sphere(draw: object) -> None:
    # In 3 dimensions each coordinate of a uniform direction is uniform on [-1, 1] (Archimedes).
    rows = draw(30_000, 3, generator=torch.Generator().manual_seed(0))
    for column in rows[::3].T.double().numpy():  # every third: blocks are dependent inside
        assert kstest((column + 1) / 2, "uniform").pvalue > 1e-3


@pytest.mark.parametrize("num", [3, 4, 9])
def test_orthogonal_directions_are_orthogonal_in_blocks(num: int) -> None:
    rows = orthogonal_directions(num, 4)
    block = rows[:4]
    assert rows.shape == (num, 4)
    torch.testing.assert_close(block @ block.T, torch.eye(len(block)), atol=1e-5, rtol=0)


@pytest.mark.parametrize("dim", [2, 8, 31])
def test_orthogonal_directions_average_less_noisily(dim: int) -> None:
    # sum_k (c_k . x)^2 is exact over a block of orthonormal directions
    x = _features(1, dim)[0]
    share = (orthogonal_directions(dim, dim) @ x).square().sum() / x.square().sum()
    assert share.item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("shape", [(12, 6), (6, 12)])
def test_singular_directions_are_numpys(shape: tuple[int, int]) -> None:
    features = _features(*shape)
    centred = features.double().numpy() - features.double().numpy().mean(axis=0)
    rows = singular_directions(features)
    wanted = np.linalg.svd(centred, full_matrices=False)[2]
    rank = min(shape[0] - 1, shape[1])  # centring takes one; the last row is arbitrary then
    agreement = np.abs((rows.double().numpy() * wanted).sum(axis=1))[:rank]
    np.testing.assert_allclose(agreement, 1, atol=1e-4)


@pytest.mark.parametrize(("shape", "kept"), [((12, 6), 3), ((12, 8), 4)], ids=str)
def test_bottom_half_keeps_the_weaker_rows(shape: tuple[int, int], kept: int) -> None:
    features = _features(*shape)
    rows = singular_directions(features, bottom_half=True)
    assert torch.equal(rows, singular_directions(features)[-kept:])


def test_views_have_their_own_singular_rows_and_share_the_random_ones() -> None:
    rows = SingularDirections(10)([_features(), _features().flip(0) ** 2]).dense()
    assert not torch.allclose(rows[0, :6].abs(), rows[1, :6].abs())
    assert torch.equal(rows[0, 6:], rows[1, 6:])


@pytest.mark.parametrize(("bottom_half", "needed"), [(False, 6), (True, 3)])
def test_too_many_singular_directions_are_refused(bottom_half: bool, needed: int) -> None:
    kind = SingularDirections(2, bottom_half=bottom_half)
    assert kind.num_singular(12, 6) == needed
    with pytest.raises(ValueError, match=f"at least .* {needed} for 12 samples of 6 .* got 2"):
        kind([_features()])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_features_give_float32_rows(dtype: torch.dtype) -> None:
    with torch.autocast("cpu", dtype=dtype):
        rows = SingularDirections(10)([_features().to(dtype)]).dense()
    assert rows.dtype == torch.float32


def test_random_directions_have_uncorrelated_coordinates() -> None:
    rows = random_directions(50_000, 5, generator=torch.Generator().manual_seed(0)).double()
    second = rows.T @ rows / len(rows)
    # variance of c_i c_j is 1 / (d (d + 2)); 10 distinct pairs
    bound = norm.isf(1e-3 / 20) * np.sqrt(1 / (5 * 7) / len(rows))
    off = second - torch.diag(second.diagonal())
    assert off.abs().max().item() < bound


@pytest.mark.parametrize("name", DIRECTIONS)
@pytest.mark.parametrize("num", [0, -1, 2.5])
def test_a_number_that_is_not_positive_is_refused(name: str, num: int) -> None:
    with pytest.raises(
        ValueError, match=f"`num_projections` to be a positive integer but got {num}"
    ):
        DIRECTIONS[name](num)
