# SPDX-License-Identifier: MIT
"""Memory that the steps of a walk over projections use again and again."""

__all__ = ["Buffers"]

import math
from collections.abc import Sequence

import torch
from torch import Tensor


class Buffers:
    """Tensors by name, whose memory is kept for the next one of that name.

    A fresh large tensor on the CPU is handed out by the operating system page by page, which takes
    as long as one or two operations on it.

    Args:
        device: where the tensors are.

    Example:
        >>> buffers = Buffers(torch.device("cpu"))
        >>> first = buffers.take("left", (2, 3), torch.float32)
        >>> buffers.take("left", (6,), torch.int32).data_ptr() == first.data_ptr()
        True
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._memory: dict[str, Tensor] = {}  # bytes
        self._given: dict[tuple, Tensor] = {}

    def take(self, name: str, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Give a contiguous tensor of any content.

        Args:
            name: what it is for. It shares its memory with all that had this name before, which
                must not be used any more.
            shape: its shape.
            dtype: its dtype.
        """
        key = (name, dtype, *shape)
        if key not in self._given:
            self._given[key] = self._piece_of(name, shape, dtype)
        return self._given[key]

    def _piece_of(self, name: str, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        size = math.prod(shape) * dtype.itemsize
        if name not in self._memory or len(self._memory[name]) < size:
            # what there was is freed before there is a larger one
            self._given = {key: given for key, given in self._given.items() if key[0] != name}
            self._memory.pop(name, None)
            self._memory[name] = torch.empty(size, dtype=torch.uint8, device=self._device)
        return self._memory[name][:size].view(dtype).view(*shape)
