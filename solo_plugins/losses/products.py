# SPDX-License-Identifier: MIT
"""Products of many small matrices, by numpy on a CPU, where torch takes twice as long."""

__all__ = ["Operand", "by_numpy", "converted", "multiply", "multiply_add", "operand", "operands"]

from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

# A tensor, or for one on a CPU an array of the same memory. torch's products there are MKL's,
# which knows no more of a processor that is not Intel's than AVX2: with matrices of 8 x 8 and 64 of
# 8 x 256 numbers numpy's took 26 microseconds in place of 47 on an AMD EPYC with AVX-512.
Operand: TypeAlias = Any
# Multiplications of one product: with twice as many numpy was slower (8 x 8 and 8 x 4,096: 36
# microseconds in place of 26 for the whole), and OpenBLAS starts threads of its own for more.
_MAX_OPERATIONS = 2**17


def by_numpy(device: torch.device) -> bool:
    """Whether numpy multiplies what is on a device."""
    return device.type == "cpu"


def operand(tensor: Tensor) -> Operand:
    """Give what :func:`multiply` takes of a tensor."""
    return tensor.numpy() if by_numpy(tensor.device) else tensor


def converted(given: Operand, dtype: torch.dtype) -> Operand:
    """Convert to another dtype."""
    if isinstance(given, Tensor):
        return given.to(dtype)
    return given.astype(str(dtype).removeprefix("torch."))


def operands(matrix: Tensor, data: Tensor, out: Tensor) -> tuple[Operand, Operand, Operand]:
    """Give what :func:`multiply` takes for one matrix and many groups of data.

    Args:
        matrix: (m, n).
        data: (groups, n, k).
        out: (groups, m, k), for the products.
    """
    (num_rows, num_columns), dtype = matrix.shape, out.dtype
    groups, _, inner = data.shape
    if not by_numpy(out.device):
        return matrix.to(dtype).expand(groups, num_rows, num_columns), data, out
    parts = 1
    while inner % (2 * parts) == 0 and num_rows * num_columns * inner > parts * _MAX_OPERATIONS:
        parts *= 2

    def split(tensor: Tensor) -> Operand:
        return tensor.unflatten(2, (parts, inner // parts)).transpose(1, 2).numpy()

    return operand(matrix.to(dtype)), split(data), split(out)


def multiply(matrix: Operand, data: Operand, out: Operand) -> None:
    """Write the products of matrices (groups, m, n) with data (groups, n, k) to `out`."""
    if isinstance(out, np.ndarray):
        np.matmul(matrix, data, out=out)
    else:
        torch.bmm(matrix, data, out=out)


def multiply_add(matrix: Operand, data: Operand, into: Operand, memory: Operand) -> None:
    """Add the products to `into`; `memory`, of its shape, may be changed."""
    if isinstance(into, np.ndarray):
        np.matmul(matrix, data, out=memory)
        np.add(into, memory, out=into)
    else:
        torch.baddbmm(into, matrix, data, out=into)
