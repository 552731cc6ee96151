# SPDX-License-Identifier: MIT
"""Memory that the steps of a walk over projections use again and again."""

__all__ = ["Buffers"]

import math
from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

_Made = TypeVar("_Made")


class Buffers:
    """Tensors by name, whose memory is kept for the next one of that name.

    A fresh large tensor on the CPU is handed out by the operating system page by page, which takes
    as long as one or two operations on it. Nor is a view of a tensor for nothing: it takes one or
    two microseconds, and where several threads work each of them waits for Python's lock after it,
    some ten microseconds each time.

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
        self._made: dict[Hashable, tuple[Any, object]] = {}

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
            self._made.clear()
            self._memory.pop(name, None)
            self._memory[name] = torch.empty(size, dtype=torch.uint8, device=self._device)
        return self._memory[name][:size].view(dtype).view(*shape)

    def forget(self) -> None:
        """Let go what was made of others' tensors, which may be gone, and keep the memory."""
        self._made.clear()

    def view(self, make: Callable[..., _Made], tensor: Tensor, *args: Hashable) -> _Made:
        """Give `make(tensor, *args)`, made once for the same tensor and arguments.

        Args:
            make: what shows a tensor's memory in another way and computes nothing.
            tensor: one of :meth:`take`, of this method, or another that many steps use.
            args: what `make` takes beside it.
        """
        key = (make, id(tensor), *args)
        if key not in self._made:
            # an object that is held shares its number with no other
            self._made[key] = (make(tensor, *args), tensor)
        return self._made[key][0]

    def prepared(self, make: Callable[..., _Made], *parts: object) -> _Made:
        """Give `make(self, *parts)`, made once for the same objects.

        Args:
            make: what takes all memory and views that some operations on the parts need. It must
                not keep this object.
            parts: tensors that many steps use, and what else `make` takes.
        """
        key = (make, *map(id, parts))
        if key not in self._made:
            self._made[key] = (make(self, *parts), parts)
        return self._made[key][0]
