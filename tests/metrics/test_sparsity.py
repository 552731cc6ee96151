# SPDX-License-Identifier: MIT
"""Sparsity at the ends of its range, and on a small table."""

from collections.abc import Callable

import pytest
import torch

from solo_plugins.metrics import (
    all_zero_rows,
    dead_outputs,
    l0_sparsity,
    l1_sparsity,
)

METRICS = [all_zero_rows, dead_outputs, l0_sparsity, l1_sparsity]

Z = torch.tensor([[0.0, 3.0, 0.0, 4.0], [0.0, 0.0, 0.0, 0.0], [0.0, 1.0, 1.0, 1.0]])


@pytest.mark.parametrize(
    ("metric", "value"),
    [
        (l0_sparsity, 5 / 12),
        # rows: (7 / 5)^2 / 4, left out for being zero, (3 / sqrt 3)^2 / 4
        (l1_sparsity, (0.49 + 0.75) / 2),
        (all_zero_rows, 1 / 3),
        (dead_outputs, 1 / 4),
    ],
)
def test_metrics_are_what_a_small_table_says(metric: Callable, value: float) -> None:
    assert metric(Z).item() == pytest.approx(value)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("shape", [(1, 1), (40, 7), (7, 40)], ids=str)
def test_metrics_are_numpys(metric: Callable, shape: tuple, by_numpy: Callable) -> None:
    z = torch.randn(shape, generator=torch.Generator().manual_seed(2)).relu()
    name = metric.__name__.removesuffix("_sparsity")
    assert metric(z).item() == pytest.approx(by_numpy(z.numpy())[name], rel=1e-6)


@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e4])
def test_l1_does_not_depend_on_scale(scale: float) -> None:
    assert l1_sparsity(Z * scale).item() == pytest.approx(l1_sparsity(Z).item(), rel=1e-5)


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


@pytest.mark.parametrize("scale", [1e-320, 1e-300, 1e300])
def test_l1_holds_for_doubles_that_are_no_float32(scale: float) -> None:
    z = torch.tensor([[1.0, 2.0, 0.0, 4.0]], dtype=torch.float64)
    assert l1_sparsity(z * scale).item() == pytest.approx(49 / 21 / 4, rel=1e-3)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_metrics_are_float32_and_carry_no_gradient(metric: object, dtype: torch.dtype) -> None:
    value = metric(torch.ones(2, 4, dtype=dtype, requires_grad=True))
    assert value.dtype == torch.float32
    assert not value.requires_grad
