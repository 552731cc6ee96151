# SPDX-License-Identifier: MIT
"""Products of many small matrices against numpy's einsum, by numpy and by torch."""

from collections.abc import Iterator
from unittest import mock

import numpy as np
import pytest
import torch
from torch import Tensor

from solo_plugins.losses import products
from solo_plugins.losses.products import converted, multiply, multiply_add, operand, operands


@pytest.fixture(params=[True, False], ids=["numpy", "torch"], autouse=True)
def by_numpy(request: pytest.FixtureRequest) -> Iterator[None]:
    with mock.patch.object(products, "by_numpy", return_value=request.param):
        yield


def _draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("groups", "num_rows", "num_columns", "inner"),
    # the last ones are cut into parts, as far as they can be halved
    [(1, 1, 1, 1), (3, 2, 4, 7), (64, 8, 8, 250), (1, 8, 8, 16384), (2, 16, 16, 3000)],
)
def test_one_matrix_multiplies_all_groups(
    dtype: torch.dtype, groups: int, num_rows: int, num_columns: int, inner: int
) -> None:
    matrix, data = _draw(num_rows, num_columns), _draw(groups, num_columns, inner, seed=1)
    out = torch.full((groups, num_rows, inner), torch.nan, dtype=dtype)
    multiply(*operands(matrix, data.to(dtype), out))
    # sums of at most 16 numbers of about 4 each
    wanted = np.einsum("mn,gnk->gmk", matrix.numpy(), data.numpy())
    np.testing.assert_allclose(out.numpy(), wanted, atol=64 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_each_group_has_a_matrix_and_products_are_added(dtype: torch.dtype) -> None:
    matrices, data = _draw(5, 6, 4, dtype=torch.float32), _draw(5, 6, 9, seed=1).to(dtype)
    into, memory = _draw(5, 4, 9, seed=2).to(dtype), torch.empty(5, 4, 9, dtype=dtype)
    wanted = into.double().numpy() + np.einsum(
        "gnm,gnk->gmk", matrices.double().numpy(), data.double().numpy()
    )
    transposed = converted(operand(matrices.mT), dtype)
    multiply_add(transposed, operand(data), operand(into), operand(memory))
    np.testing.assert_allclose(into.numpy(), wanted, atol=64 * torch.finfo(dtype).eps)
