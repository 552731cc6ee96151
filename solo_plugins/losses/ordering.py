# SPDX-License-Identifier: MIT
"""Sorting rows, and matching each value to the value of the same rank in a sorted row."""

__all__ = ["match_by_rank", "order_of", "sort_in_place"]

import numpy as np
import torch
from torch import Tensor

from solo_plugins.losses.buffers import Buffers

# numpy's sorts of numbers are vectorised on the CPU and torch's are not. A sort that tells where
# each value came from is several times slower, but the column can be sorted along in the lowest
# bits of the number. Up to 2**10 columns a value and its column go into 32 bits, which takes less
# than half of the time of 64.
_NARROW_BITS = 10
# Values are rounded then to the largest magnitude / 2**(31 - bits of the column), 2**-23 of it for
# 256 columns, which is float32's own step there. Rows whose largest magnitude is this many times
# their root mean square would lose digits: they go into 64 bits.
_NARROW_SPREAD = 32.0
# A float32 leaves 29 bits of a float64 free.
_WIDE_BITS = 29


def sort_in_place(rows: Tensor, buffers: Buffers | None = None) -> Tensor:
    """Sort along the last dimension; on a CPU in place.

    Args:
        rows: float32 or float64 (R, N), contiguous; may be changed.
        buffers: what `rows` are from.

    Returns:
        The sorted rows.
    """
    if rows.device.type == "cpu":
        buffers = buffers or Buffers(rows.device)
        buffers.view(Tensor.numpy, rows).sort(axis=-1)
        return rows
    return rows.sort(dim=-1).values


def match_by_rank(rows: Tensor, sorted_rows: Tensor, buffers: Buffers | None = None) -> Tensor:
    """Give each value of a row the value of the same rank in another.

    Args:
        rows: (R, N), float32 or float64.
        sorted_rows: (R, N), each row in ascending order.
        buffers: memory to use; "left" and "right" are changed.

    Returns:
        (R, N), where a place has the value of `sorted_rows` whose rank is that of the place's value
        in `rows`; in the buffer "right".

    Example:
        >>> match_by_rank(torch.tensor([[7.0, 5.0, 6.0]]), torch.tensor([[1.0, 2.0, 3.0]]))
        tensor([[3., 1., 2.]])
    """
    buffers = buffers or Buffers(rows.device)
    keys = _narrow_keys(rows, buffers)
    if keys is None:
        order = _other_order(rows)
        return buffers.take("right", rows.shape, rows.dtype).scatter_(1, order, sorted_rows)
    # An order takes 64 bits a value: half of it at a time. What is matched overwrites its key.
    matched = buffers.take("right", rows.shape, rows.dtype)
    parts = (buffers.view(torch.chunk, tensor, 2) for tensor in (keys, matched, sorted_rows))
    for part_keys, part_matched, part_sorted in zip(*parts, strict=True):
        order = buffers.take("left", part_keys.shape, torch.int64).copy_(part_keys)
        part_matched.scatter_(1, order, part_sorted)
    return matched


def order_of(rows: Tensor, buffers: Buffers | None = None) -> Tensor:
    """Compute the order that sorts each row.

    Args:
        rows: (R, N), float32 or float64.
        buffers: memory to use; "left" and "right" are changed.

    Returns:
        Columns (R, N), int64, maybe in the buffer "left". In float32 on a CPU with up to 1024
        columns, values of all rows that differ by less than one part in 2**21 of the largest
        magnitude (2**23 for 256 columns) may be taken for equal.
    """
    buffers = buffers or Buffers(rows.device)
    keys = _narrow_keys(rows, buffers)
    if keys is None:
        return _other_order(rows)
    return buffers.take("left", rows.shape, torch.int64).copy_(keys)


def _other_order(rows: Tensor) -> Tensor:
    if rows.device.type != "cpu":
        return rows.sort(dim=-1).indices
    if rows.dtype != torch.float32:
        return torch.from_numpy(np.argsort(rows.numpy(), axis=-1))
    if not rows.isfinite().all():
        return rows.argsort(dim=-1)  # the bits of a column would not survive in them
    return _wide_order(rows)


def _narrow_keys(rows: Tensor, buffers: Buffers) -> Tensor | None:
    """Order float32 rows on a CPU, if their values are of sizes that suit 32 bits.

    Returns:
        Columns (R, N), int32, in the buffer "right".
    """
    if rows.device.type != "cpu" or rows.dtype != torch.float32:
        return None
    num_columns = rows.size(-1)
    bits = (num_columns - 1).bit_length()
    # torch takes twice as long for three numbers of it
    values = buffers.view(Tensor.numpy, rows).ravel()
    magnitude = max(-float(values.min()), float(values.max()))
    if bits > _NARROW_BITS or not _is_narrow(values, magnitude):
        return None
    scale = 2.0 ** (31 - bits) * (1 - 2.0**-20) / magnitude
    scaled = torch.mul(rows, scale, out=buffers.take("right", rows.shape, rows.dtype))
    keys = buffers.take("right", rows.shape, torch.int32).copy_(scaled)  # each in its own place
    # the value times 2**bits, plus the column
    torch.add(buffers.view(_numbers, rows), keys, alpha=2**bits, out=keys)
    buffers.view(Tensor.numpy, keys).sort(axis=-1)
    keys &= 2**bits - 1
    return keys


def _is_narrow(values: np.ndarray, magnitude: float) -> bool:
    # Outside these bounds squares, or what values are scaled by, may not be numbers of float32.
    if not 1e-15 < magnitude < 1e15:
        return False
    root_mean_square = (float(np.dot(values, values)) / values.size) ** 0.5
    return magnitude <= _NARROW_SPREAD * root_mean_square


def _wide_order(rows: Tensor) -> Tensor:
    packed = rows.double()
    bits = packed.view(torch.int64)
    bits |= torch.arange(rows.size(-1))
    packed.numpy().sort(axis=-1)
    bits &= 2**_WIDE_BITS - 1
    return bits


def _numbers(rows: Tensor) -> Tensor:
    return torch.arange(rows.size(-1), dtype=torch.int32)
