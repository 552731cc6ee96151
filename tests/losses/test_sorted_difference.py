# SPDX-License-Identifier: MIT
"""The sort that the losses use, against torch's own."""

import pytest
import torch

from solo_plugins.losses.sorted_difference import sort_with_order


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_sort_tells_where_each_value_came_from(dtype: torch.dtype) -> None:
    # Values of both signs, ties, zeros of both signs, subnormal and large ones.
    rows = torch.randn(64, 300, generator=torch.Generator().manual_seed(0), dtype=dtype)
    rows[:, ::7] = 0.0
    rows[:, 1::7] = -0.0
    rows[:, 2::7] *= 1e-42
    rows[:, 3::7] *= 1e37
    values, order = sort_with_order(rows)
    assert torch.equal(values, rows.sort(dim=-1).values)
    assert torch.equal(rows.gather(1, order), values)
    assert torch.equal(order.sort(dim=-1).values, torch.arange(300).expand(64, -1))
