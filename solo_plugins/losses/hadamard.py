# SPDX-License-Identifier: MIT
"""Projections on the rows of Hadamard matrices with random signs, without a dense product."""

__all__ = ["LARGEST_FACTOR", "HadamardProjections", "kronecker_factors", "sylvester"]

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from solo_plugins.losses.buffers import Buffers
from solo_plugins.losses.projections import Piece

# The largest Kronecker factor is 2**4: a factor of n costs 2n operations an element, and more and
# smaller factors cost more passes over memory.
_LOG_FACTOR = 4
LARGEST_FACTOR = 2**_LOG_FACTOR
# Outputs that are mixed with each other before the blocks.
_GROUP = 8


def kronecker_factors(size: int) -> list[int]:
    """Split a power of two into factors of 16 at most, as equal as can be, large ones first.

    Args:
        size: a power of two.

    Returns:
        The factors; their product is `size`.

    Example:
        >>> kronecker_factors(512), kronecker_factors(2048), kronecker_factors(1)
        ([8, 8, 8], [16, 16, 8], [1])
    """
    log = size.bit_length() - 1
    number = max(1, -(-log // _LOG_FACTOR))
    return [2 ** (log // number + (place < log % number)) for place in range(number)]


def sylvester(size: int, *, device: torch.device | str | None = None) -> Tensor:
    """Build Sylvester's Hadamard matrix, symmetric, of entries 1 and -1.

    Args:
        size: a power of two.
        device: where to build it.

    Returns:
        (size, size) in float32.

    Example:
        >>> sylvester(2)
        tensor([[ 1.,  1.],
                [ 1., -1.]])
    """
    # Row i and column j have -1 where i & j has an odd number of bits.
    places = torch.arange(size, device=device)
    odd = places.unsqueeze(1) & places
    shift = 1
    while shift < size.bit_length() - 1:
        odd ^= odd >> shift
        shift *= 2
    return 1 - 2 * (odd & 1).float()


class HadamardProjections:
    r"""Blocks of unit directions, each the rows of one Hadamard matrix with random signs.

    With P the next power of two of D, H Sylvester's Hadamard matrix (P, P), t a choice of D of its
    columns and s the signs of block b, direction number j of the block is

    .. math:: c_{b,j} = D^{-1/2} \, (s_{b,t(1)} H_{j,t(1)}, \dots, s_{b,t(D)} H_{j,t(D)})

    All entries of H and s are 1 or -1, so that each of the D entries of a direction has the square
    1 / D: its length is exactly 1, for every D. If D is a power of two, the directions of a block
    are orthogonal, since the rows of H are.

    H is the Kronecker product of Hadamard matrices of 16 rows at most. Projecting applies the signs
    and then each factor as a small matrix product; neither H nor a (K, D) matrix is made. The cost
    of a sample and block is 2 P times the sum of the factors, 24 for P = 512, in place of the 2 P D
    operations of a dense product. H is symmetric: the adjoint is the factors, then the signs.

    With `mix` every eight outputs, in the order of their places, are first multiplied by signs and
    by the orthogonal matrix of H's kind of 8 rows, once for all blocks; what is left of D stays.
    Lengths and angles stay too, but the entries of a direction are sums of eight signs then, as
    uneven as those of a random direction nearly are. Without it all are equally large, which for
    few active outputs is another regulariser: docs/performance.md.

    Args:
        num: K, positive. The last block is cut.
        signs: 1 and -1, (blocks, P), with at least K / P blocks.
        places: the column t of each output, (D,), all different, each below P.
        mix: 1 and -1, (D,), for the outputs in the order of their places, or None.
        matrix: what :func:`sylvester` makes of :data:`LARGEST_FACTOR`, if it is there already.

    References:
        Yu et al., Orthogonal Random Features, NeurIPS 2016 (structured orthogonal random features);
        Rowland et al., Orthogonal Estimation of Wasserstein Distances, AISTATS 2019.
    """

    num_views = 1

    def __init__(
        self,
        num: int,
        signs: Tensor,
        places: Tensor,
        mix: Tensor | None = None,
        matrix: Tensor | None = None,
    ) -> None:
        self.num, self.dim, self.size = num, len(places), signs.size(1)
        self._signs = signs.unsqueeze(2)  # (blocks, P, 1)
        self._scale = self.dim**-0.5
        self._mix = mix
        self._mix_signs: dict[torch.dtype, Tensor] = {}
        # Sylvester's smaller matrices are the corners of the larger ones.
        if matrix is None:
            matrix = sylvester(LARGEST_FACTOR, device=signs.device)
        self._matrix = matrix
        self._factors = [matrix[:factor, :factor] for factor in kronecker_factors(self.size)]
        if mix is not None and self.dim == self.size:
            self._order, self._rank = _inverse(places), places
        elif mix is not None:
            self._order = places.argsort()
            self._rank, places = _inverse(self._order), places[self._order]
        self._places = places

    def enter(self, samples: Tensor) -> Tensor:
        """Put the outputs of samples (V, N, D) at their places in (V, P, N), zeros elsewhere.

        They are divided by the square root of D, so that what is left of directions is 1 and -1.
        """
        columns = samples.mT
        if self._mix is None:
            columns = columns * self._scale
        else:
            columns = columns.index_select(1, self._order)
            columns = self._mix_groups(columns.mul_(self._signs_of_mix(columns.dtype)))
            if self.dim == self.size:  # in the order of their places already
                return columns
        shape = (len(columns), self.size, columns.size(2))
        return columns.new_zeros(shape).index_copy_(1, self._places, columns)

    def leave(self, columns: Tensor) -> Tensor:
        """Take the outputs (V, N, D) from their places in (V, P, N), which may be changed."""
        if self._mix is None or self.dim < self.size:
            columns = columns.index_select(1, self._places)
        if self._mix is None:
            return columns.mul_(self._scale).mT
        signs = self._signs_of_mix(columns.dtype)
        return self._mix_groups(columns).mul_(signs).index_select(1, self._rank).mT

    def _signs_of_mix(self, dtype: torch.dtype) -> Tensor:
        """Give (D, 1): the signs, over the root of D, and over that of 8 where eight are mixed."""
        if dtype not in self._mix_signs:
            assert self._mix is not None
            signs = self._mix.to(dtype).unsqueeze(1) * self._scale
            signs[: self._mixed] *= _GROUP**-0.5
            self._mix_signs[dtype] = signs
        return self._mix_signs[dtype]

    @property
    def _mixed(self) -> int:
        """How many outputs are mixed: what is left of D is not."""
        return self.dim - self.dim % _GROUP

    def _mix_groups(self, columns: Tensor) -> Tensor:
        """Multiply every eight of the rows (V, D, N) by Sylvester's symmetric matrix, in place.

        One view at a time, which takes less memory.
        """
        matrix = self._matrix[:_GROUP, :_GROUP].to(columns.dtype)
        for view in columns:
            groups = view[: self._mixed].unflatten(0, (self._mixed // _GROUP, _GROUP))
            groups.copy_(torch.matmul(matrix, groups))
        return columns

    def pieces(self, rows: range, chunk_size: int) -> Sequence[Piece]:
        """Cut into pieces of as many whole blocks as half of `chunk_size` holds, one at least.

        Half, since the signed samples and each factor's product are buffers too. A block of more
        rows than `chunk_size` is cut, into whole multiples of the rows that one row of the first
        factor makes.
        """
        unit = self.size // len(self._factors[0])
        blocks, part = max(1, chunk_size // (2 * self.size)), self.size
        if self.size > chunk_size:
            blocks, part = 0, max(unit, chunk_size // unit * unit)
        pieces: list[Piece] = []
        start = rows.start
        while start < rows.stop:
            block, first = divmod(start, self.size)
            whole = 0 if first else min(blocks, (rows.stop - start) // self.size)
            next_part = (first // part + 1) * part
            last = self.size if whole else min(self.size, next_part, rows.stop - block * self.size)
            signs = self._signs[block : block + max(1, whole)]
            pieces.append(_Blocks(signs, self._factors, range(first, last)))
            start = block * self.size + (whole * self.size or last)
        return pieces

    def dense(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """Give the directions as unit rows (K, D), by projecting the unit vectors."""
        identity = torch.eye(self.dim, dtype=dtype, device=self._signs.device).unsqueeze(0)
        columns = self.enter(identity)[0]
        buffers = Buffers(columns.device)
        pieces = self.pieces(range(self.num), 1)
        rows = [piece.project(columns, 0, buffers, "outputs").clone() for piece in pieces]
        return torch.cat(rows)


def _inverse(order: Tensor) -> Tensor:
    return torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))


@dataclass(frozen=True)
class _Blocks:
    """Some rows of a block, or all rows of B blocks."""

    signs: Tensor  # (B, P, 1)
    factors: Sequence[Tensor]
    rows: range

    def project(self, columns: Tensor, view: int, buffers: Buffers, name: str) -> Tensor:
        low, high, unit = self._groups()
        dtype, num_blocks = columns.dtype, self.signs.size(0)
        signed = buffers.take("left", (num_blocks, *columns.shape), dtype)
        data = torch.mul(columns, _as(dtype, self.signs), out=signed)
        factors = [self._rows_of_first(low, high), *self.factors[1:]]
        data = _multiply(factors, data, num_blocks, buffers, ["right", "left"], name)
        data = buffers.view(Tensor.view, data, -1, columns.size(1))
        first, stop = self.rows.start - low * unit, self._stop() - low * unit
        return data if (first, stop) == (0, data.size(0)) else data[first:stop]

    def back(self, rows: Tensor, into: Tensor, view: int, buffers: Buffers) -> None:
        low, high, unit = self._groups()
        rest, num_blocks = self.factors[1:], self.signs.size(0)
        above, below = self.rows.start - low * unit, num_blocks * high * unit - self._stop()
        if above or below:
            rows = torch.nn.functional.pad(rows, (0, 0, above, below))
        names = ["left", "right"]
        data = _multiply(rest, rows, num_blocks * (high - low), buffers, names)
        names = names[len(rest) % 2 :] + names[: len(rest) % 2]
        first = buffers.view(Tensor.t, self._rows_of_first(low, high))
        data = _multiply([first], data, num_blocks, buffers, names)
        data = buffers.view(Tensor.view, data, num_blocks, *into.shape)
        signs = _as(into.dtype, self.signs)
        if num_blocks == 1:
            buffers.view(torch.unsqueeze, into, 0).addcmul_(data, signs)
        else:
            into += data.mul_(signs).sum(dim=0)

    def _rows_of_first(self, low: int, high: int) -> Tensor:
        first = self.factors[0]
        return first if high - low == first.size(0) else first[low:high]

    def _groups(self) -> tuple[int, int, int]:
        """The first factor's rows that `rows` need, from and to, and the rows that each makes."""
        unit = self.signs.size(1) // self.factors[0].size(0)
        return self.rows.start // unit, -(-self.rows.stop // unit), unit

    def _stop(self) -> int:
        """The end of the last block's rows, counted from the start of the first block."""
        return (self.signs.size(0) - 1) * self.signs.size(1) + self.rows.stop


def _as(dtype: torch.dtype, tensor: Tensor) -> Tensor:
    """Convert if there is something to convert: asking torch takes ten times as long."""
    return tensor if tensor.dtype == dtype else tensor.to(dtype)


def _expanded(matrix: Tensor, groups: int, dtype: torch.dtype) -> Tensor:
    return _as(dtype, matrix).expand(groups, *matrix.shape)


def _multiply(
    factors: Sequence[Tensor],
    data: Tensor,
    groups: int,
    buffers: Buffers,
    names: Sequence[str],
    last: str | None = None,
) -> Tensor:
    """Multiply by factors (m, n), each along an axis of its own.

    Args:
        factors: matrices, for the axes from the outer to the inner one.
        data: elements in the order (groups, axis of each factor, the rest).
        groups: the number of groups.
        buffers: memory for the products.
        names: the buffers of products in turn; `data` is not in the first one.
        last: the buffer of the last product, if it is to be another one.

    Returns:
        The product, of the shape that the last multiplication gave it.
    """
    dtype, numel = data.dtype, data.numel()
    for place, factor in enumerate(factors):
        num_rows, num_columns = factor.shape
        inner = numel // (groups * num_columns)
        name = last if last and place == len(factors) - 1 else names[place % 2]
        out = buffers.take(name, (groups, num_rows, inner), dtype)
        matrix = buffers.view(_expanded, factor, groups, dtype)
        groups_of_data = buffers.view(Tensor.view, data, groups, num_columns, inner)
        data = torch.bmm(matrix, groups_of_data, out=out)
        groups, numel = groups * num_rows, groups * num_rows * inner
    return data
