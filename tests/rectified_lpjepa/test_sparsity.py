# SPDX-License-Identifier: MIT
"""Sparsity at the ends of its range; what a small table gives stands in test_parts.py."""

import pytest
import torch

from solo_plugins.rectified_lpjepa.sparsity import (
    all_zero_rows,
    dead_outputs,
    l0_sparsity,
    l1_sparsity,
)

METRICS = [all_zero_rows, dead_outputs, l0_sparsity, l1_sparsity]


@pytest.mark.parametrize(
    ("z", "l0", "l1", "rows", "outputs"),
    [
        pytest.param(torch.ones(3, 8), 1, 1, 0, 0, id="dense"),
        pytest.param(torch.eye(8), 1 / 8, 1 / 8, 0, 0, id="one-hot"),
        pytest.param(torch.zeros(3, 8), 0, float("nan"), 1, 1, id="collapsed"),
    ],
)
def test_extremes(z: torch.Tensor, l0: float, l1: float, rows: float, outputs: float) -> None:
    found = [metric(z).item() for metric in (l0_sparsity, l1_sparsity, all_zero_rows, dead_outputs)]
    assert found == pytest.approx([l0, l1, rows, outputs], nan_ok=True)


@pytest.mark.parametrize("scale", [1e-37, 1e-30, 1e30, 1e38])
def test_l1_holds_where_squares_leave_float32(scale: float) -> None:
    assert l1_sparsity(torch.full((2, 8), scale)).item() == pytest.approx(1)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_metrics_are_float32_and_carry_no_gradient(metric: object, dtype: torch.dtype) -> None:
    value = metric(torch.ones(2, 4, dtype=dtype, requires_grad=True))
    assert value.dtype == torch.float32
    assert not value.requires_grad
