# SPDX-License-Identifier: MIT
"""Pieces of the rows of Hadamard matrices with random signs: whole blocks, or a part of one."""

__all__ = ["Blocks", "Cut", "Form", "Part"]

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import TypeAlias

import torch
from torch import Tensor

from solo_plugins.losses.buffers import Buffers
from solo_plugins.losses.products import (
    Operand,
    converted,
    multiply,
    multiply_add,
    operand,
    operands,
)

# A matrix, what it multiplies, and where the product goes.
_Product: TypeAlias = tuple[Operand, Operand, Operand]


@dataclass(frozen=True, eq=False)
class Form:
    """What pieces of as many whole blocks have in common, one object for all."""

    outer: Sequence[Tensor]  # all factors but the last one
    shape: tuple[int, int, int]  # of the last one with its signs, for all blocks: (P / n, B n, n)


@dataclass(frozen=True)
class Blocks:
    """All rows of B blocks, in the order of the outer factors' rows, blocks, the last one's rows.

    The signs are those of the last factor, which is multiplied by first: a pass less over memory.
    """

    signed: Operand  # in float32
    transposed: Operand
    form: Form

    def project(self, columns: Tensor, view: int, buffers: Buffers, name: str) -> Tensor:
        """Project samples, as :meth:`~solo_plugins.losses.projections.Piece.project` says."""
        way = buffers.prepared(_Forth, self.form, columns, name)
        multiply(_in(columns.dtype, self.signed, buffers), way.data, way.out)
        for product in way.products:
            multiply(*product)
        return way.result

    def back(self, rows: Tensor, into: Tensor, view: int, buffers: Buffers) -> None:
        """Add what the adjoint makes of `rows` to `into`."""
        way = buffers.prepared(_Back, self.form, rows, into)
        for product in way.products:
            multiply(*product)
        matrix = _in(into.dtype, self.transposed, buffers)
        multiply_add(matrix, way.data, way.into, way.memory)


class _Forth:
    """The products of blocks after the first one, and the memory of all."""

    def __init__(self, buffers: Buffers, form: Form, columns: Tensor, name: str) -> None:
        groups, num_rows, inner = form.shape
        num_samples, dtype = columns.size(1), columns.dtype
        # Two buffers in turn, which the cache may hold.
        first, *names = list(islice(cycle([name, "left"]), len(form.outer) + 1))[::-1]
        self.data = operand(columns.view(groups, inner, num_samples))
        out = buffers.take(first, (groups, num_rows, num_samples), dtype)
        self.out = operand(out)
        self.products, result = _products(form.outer, out, 1, buffers, names)
        self.result = result.view(-1, num_samples)


class _Back:
    """The products of the adjoint of blocks before the last one, and the memory of all."""

    def __init__(self, buffers: Buffers, form: Form, rows: Tensor, into: Tensor) -> None:
        groups, num_rows, inner = form.shape
        names = _alternately()
        self.products, data = _products(form.outer, rows, 1, buffers, names)
        shape = (groups, inner, into.size(1))
        self.data = operand(data.view(groups, num_rows, into.size(1)))
        self.into = operand(into.view(shape))
        self.memory = operand(buffers.take(next(names), shape, into.dtype))


class Cut:
    """What pieces of the same rows of a block have in common, one object for all.

    Args:
        factors: of a block's matrix, from the outermost one.
        size: the rows of a block, P.
        rows: those that are wanted.
    """

    def __init__(self, factors: Sequence[Tensor], size: int, rows: range) -> None:
        unit = size // len(factors[0])  # the rows that one of the first factor makes
        low, high = rows.start // unit, -(-rows.stop // unit)
        self.first, self.rest = factors[0][low:high], factors[1:]
        self.made = (high - low) * unit
        self.wanted = slice(rows.start - low * unit, rows.stop - low * unit)


@dataclass(frozen=True)
class Part:
    """Some rows of a block: the first factor's rows that make them are multiplied by first."""

    signs: Tensor  # (P, 1)
    cut: Cut

    def project(self, columns: Tensor, view: int, buffers: Buffers, name: str) -> Tensor:
        """Project samples, as :meth:`~solo_plugins.losses.projections.Piece.project` says."""
        way = buffers.prepared(_PartForth, self.cut, columns, name)
        torch.mul(columns, _as(columns.dtype, self.signs), out=way.signed)
        for product in way.products:
            multiply(*product)
        return way.result

    def back(self, rows: Tensor, into: Tensor, view: int, buffers: Buffers) -> None:
        """Add what the adjoint makes of `rows` to `into`."""
        way = buffers.prepared(_PartBack, self.cut, rows, into)
        if way.wanted is not None:
            way.wanted.copy_(rows)
        for product in way.products:
            multiply(*product)
        into.addcmul_(way.result, _as(into.dtype, self.signs))


class _PartForth:
    """The products of a part and the memory of all."""

    def __init__(self, buffers: Buffers, cut: Cut, columns: Tensor, name: str) -> None:
        self.signed = buffers.take("left", columns.shape, columns.dtype)
        names = [*islice(_alternately(), len(cut.rest)), name]
        factors = [cut.first, *cut.rest]
        self.products, result = _products(factors, self.signed, 1, buffers, names)
        self.result = result.view(cut.made, -1)[cut.wanted]


class _PartBack:
    """The products of a part's adjoint and the memory of all."""

    def __init__(self, buffers: Buffers, cut: Cut, rows: Tensor, into: Tensor) -> None:
        self.wanted: Tensor | None = None
        if len(rows) < cut.made:  # the others are zeros
            made = rows.new_zeros(cut.made, into.size(1))
            self.wanted, rows = made[cut.wanted], made
        names = _alternately()
        self.products, data = _products(cut.rest, rows, len(cut.first), buffers, names)
        last, data = _products([cut.first.t()], data, 1, buffers, names)
        self.products += last
        self.result = data.view(into.shape)


def _alternately() -> Iterator[str]:
    """Name the buffers of products that follow one in "left", or in another buffer."""
    return cycle(["right", "left"])


def _in(dtype: torch.dtype, matrix: Operand, buffers: Buffers) -> Operand:
    return matrix if dtype == torch.float32 else buffers.view(converted, matrix, dtype)


def _as(dtype: torch.dtype, tensor: Tensor) -> Tensor:
    """Convert if there is something to convert: asking torch takes ten times as long."""
    return tensor if tensor.dtype == dtype else tensor.to(dtype)


def _products(
    factors: Sequence[Tensor], data: Tensor, groups: int, buffers: Buffers, names: Iterable[str]
) -> tuple[list[_Product], Tensor]:
    """Prepare products with factors (m, n), each along an axis of its own.

    Args:
        factors: matrices, for the axes from the outer to the inner one.
        data: elements in the order (groups, axis of each factor, the rest).
        groups: the number of groups.
        buffers: memory for the products.
        names: the buffer of each product, another one than that of the product before it.

    Returns:
        What to multiply, matrix, data and where the product goes, and the last product, of the
        shape that the last multiplication gives it.
    """
    products: list[_Product] = []
    for factor, name in zip(factors, names, strict=False):
        num_rows, num_columns = factor.shape
        inner = data.numel() // (groups * num_columns)
        out = buffers.take(name, (groups, num_rows, inner), data.dtype)
        products.append(operands(factor, data.view(groups, num_columns, inner), out))
        data, groups = out, groups * num_rows
    return products, data
