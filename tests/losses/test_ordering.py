# SPDX-License-Identifier: MIT
"""The sorts that the losses use, against torch's own."""

import pytest
import torch
from torch import Tensor

from solo_plugins.losses.ordering import match_by_rank, sort_in_place


def _rows(num: int = 64, size: int = 300, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(num, size, generator=torch.Generator().manual_seed(0), dtype=dtype)


def _order_of(rows: Tensor) -> Tensor:
    """The order that sorts rows, by the rank that each value is given."""
    columns = torch.arange(rows.size(1)).expand(rows.shape)
    ranks = match_by_rank(rows, columns.to(rows.dtype))
    assert torch.equal(ranks.sort(dim=-1).values, columns.to(rows.dtype))
    return torch.empty_like(columns).scatter_(1, ranks.long(), columns)


def _difficult(dtype: torch.dtype) -> Tensor:
    """Values of both signs, ties, zeros of both signs, subnormal and large ones."""
    rows = _rows(dtype=dtype)
    rows[:, ::7] = 0.0
    rows[:, 1::7] = -0.0
    rows[:, 2::7] *= 1e-42
    rows[:, 3::7] *= 1e37
    return rows


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_order_of_difficult_rows_sorts_them(dtype: torch.dtype) -> None:
    rows = _difficult(dtype)
    order = _order_of(rows.clone())
    wanted = rows.sort(dim=-1).values
    assert torch.equal(rows.gather(1, order), wanted)
    assert torch.equal(sort_in_place(rows), wanted)


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 1024, 1025, 3000])
@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1.0, 1e10])
def test_the_order_sorts_up_to_float32s_step_of_the_largest_value(size: int, scale: float) -> None:
    rows = scale * _rows(8, size)
    order = _order_of(rows.clone())
    # Values and their columns share 32 bits up to 1024 columns: a step is 2**(bits - 31) of the
    # largest magnitude. The steps of both neighbours are added, and the rounding of the scaling.
    bits = max(8, (size - 1).bit_length())
    allowed = 3 * 2.0 ** (bits - 31) * rows.abs().max()
    assert bool((rows.gather(1, order) >= rows.sort(dim=-1).values - allowed).all())


@pytest.mark.parametrize("outlier", [1e3, 1e6, 1e30])
def test_an_outlier_takes_no_digits_from_other_values(outlier: float) -> None:
    rows = _rows(64, 256)
    rows[0, 0] = outlier
    assert torch.equal(rows.gather(1, _order_of(rows.clone())), rows.sort(dim=-1).values)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 0.0])
def test_rows_that_are_not_finite_or_all_zero_have_an_order(value: float) -> None:
    rows = _rows(4, 8)
    rows[1] = value
    rows[2, 3] = value
    _order_of(rows)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_value_gets_the_value_of_its_rank(dtype: torch.dtype) -> None:
    rows, others = _rows(dtype=dtype), _rows(dtype=dtype).square().sort(dim=-1).values
    matched = match_by_rank(rows, others)
    assert torch.equal(matched, others.gather(1, rows.argsort(dim=-1).argsort(dim=-1)))
