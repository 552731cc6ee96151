# SPDX-License-Identifier: MIT
"""Checks of tensors at the door of the maths, which would fail, or not fail, somewhere inside."""

__all__ = ["check_one_argument", "check_real", "check_samples", "check_tensor"]

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def check_tensor(name: str, value: Any) -> None:
    """Refuse what is no tensor.

    Args:
        name: the argument's name.
        value: what was given.

    Raises:
        TypeError: if it is something else.

    Example:
        >>> check_tensor("z", [1.0])
        Traceback (most recent call last):
        TypeError: Expected `z` to be a tensor but got list.
    """
    if not isinstance(value, Tensor):
        raise TypeError(f"Expected `{name}` to be a tensor but got {type(value).__name__}.")


def check_one_argument(name: str, others: Sequence[object]) -> None:
    """Refuse views that are given one by one.

    Args:
        name: what is called.
        others: the arguments beside the first one.

    Raises:
        TypeError: if there are any.

    Example:
        >>> check_one_argument("loss", ["z2"])
        Traceback (most recent call last):
        TypeError: Expected all views as one argument, `loss([z1, z2])`, but got 2 arguments.
    """
    if others:
        raise TypeError(
            f"Expected all views as one argument, `{name}([z1, z2])`, but got {1 + len(others)} "
            "arguments."
        )


def check_real(name: str, tensor: Tensor) -> None:
    """Refuse complex numbers, sparse layouts, and what is no tensor.

    Args:
        name: the argument's name.
        tensor: of any shape.

    Raises:
        TypeError: if it is complex, sparse, or no tensor.

    Example:
        >>> import torch
        >>> check_real("z", torch.zeros(2, dtype=torch.complex64))
        Traceback (most recent call last):
        TypeError: Expected `z` to be real but got torch.complex64.
    """
    check_tensor(name, tensor)
    if tensor.is_complex():
        raise TypeError(f"Expected `{name}` to be real but got {tensor.dtype}.")
    if tensor.layout != torch.strided:
        raise TypeError(
            f"Expected `{name}` to be dense but got {tensor.layout}; `to_dense()` makes it so."
        )


def check_samples(
    name: str, tensor: Tensor, *, dim: int | None = None, empty: bool = False
) -> None:
    """Refuse what is no table of numbers (N, D).

    Args:
        name: the argument's name.
        tensor: what was given.
        dim: D, or None for any.
        empty: whether N may be 0.

    Raises:
        TypeError: if it is complex, sparse, or no tensor.
        ValueError: if it is of another shape, D is 0, or N is and may not be.

    Example:
        >>> import torch
        >>> check_samples("z", torch.zeros(3))
        Traceback (most recent call last):
        ValueError: Expected `z` to be of shape (N, D) but got (3,).
    """
    check_real(name, tensor)
    if tensor.ndim != 2 or tensor.size(1) != (tensor.size(1) if dim is None else dim):
        columns = "D" if dim is None else str(dim)
        raise ValueError(
            f"Expected `{name}` to be of shape (N, {columns}) but got {tuple(tensor.shape)}."
        )
    if tensor.size(1) == 0 or (tensor.size(0) == 0 and not empty):
        raise ValueError(f"Expected `{name}` to hold numbers but got shape {tuple(tensor.shape)}.")
