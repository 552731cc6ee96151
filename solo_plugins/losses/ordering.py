# SPDX-License-Identifier: MIT
"""Sorting rows, and matching each value to the value of the same rank in a sorted row."""

__all__ = ["match_by_rank", "sort_in_place"]

from typing import Any

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
    if _fits_narrow(rows):
        narrow = buffers.prepared(_Narrow, rows, sorted_rows)
        if narrow.order():
            return narrow.match()
    order = _other_order(rows)
    return buffers.take("right", rows.shape, rows.dtype).scatter_(1, order, sorted_rows)


def _other_order(rows: Tensor) -> Tensor:
    if rows.device.type != "cpu":
        return rows.sort(dim=-1).indices
    if rows.dtype != torch.float32:
        return torch.from_numpy(np.argsort(rows.numpy(), axis=-1))
    if not rows.isfinite().all():
        return rows.argsort(dim=-1)  # the bits of a column would not survive in them
    return _wide_order(rows)


def _fits_narrow(rows: Tensor) -> bool:
    return (
        rows.device.type == "cpu"
        and rows.dtype == torch.float32
        and rows.size(-1) <= 2**_NARROW_BITS
    )


class _Narrow:
    """Matching of float32 rows on a CPU by keys of 32 bits, and the memory for it."""

    def __init__(self, buffers: Buffers, rows: Tensor, sorted_rows: Tensor) -> None:
        self._bits = (rows.size(-1) - 1).bit_length()
        # numpy takes half as long as torch where it can
        self._array = rows.numpy()
        self._values = self._array.ravel()
        self._matched = buffers.take("right", rows.shape, rows.dtype)
        self._keys = buffers.take("right", rows.shape, torch.int32)
        self._key_array = self._keys.numpy()
        self._columns = torch.arange(rows.size(-1), dtype=torch.int32)
        # An order takes 64 bits a value: half of it at a time. What is matched overwrites its key.
        parts = (tensor.chunk(2) for tensor in (self._keys, self._matched, sorted_rows))
        self._parts = [
            (buffers.take("left", keys.shape, torch.int64), keys, matched, part_sorted)
            for keys, matched, part_sorted in zip(*parts, strict=True)
        ]

    def order(self) -> bool:
        """Order the rows if their values are of sizes that suit 32 bits, and tell whether."""
        values = self._values
        magnitude = max(-float(values.min()), float(values.max()))
        if not _is_narrow(values, magnitude):
            return False
        scale = 2.0 ** (31 - self._bits) * (1 - 2.0**-20) / magnitude
        scaled: Any = np.float32(scale)
        np.multiply(self._array, scaled, out=self._key_array, casting="unsafe")
        # the value times 2**bits, plus the column
        torch.add(self._columns, self._keys, alpha=2**self._bits, out=self._keys)
        self._key_array.sort(axis=-1)
        np.bitwise_and(self._key_array, np.int32(2**self._bits - 1), out=self._key_array)
        return True

    def match(self) -> Tensor:
        """Give each place the value of its rank, once the rows are ordered."""
        for order, keys, matched, sorted_rows in self._parts:
            order.copy_(keys)
            matched.scatter_(1, order, sorted_rows)
        return self._matched


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
