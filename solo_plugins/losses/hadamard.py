# SPDX-License-Identifier: MIT
"""Projections on the rows of Hadamard matrices with random signs, without a dense product."""

__all__ = ["LARGEST_FACTOR", "HadamardProjections", "kronecker_factors", "sylvester"]

from collections.abc import Sequence

import torch
from torch import Tensor

from solo_plugins.losses.buffers import Buffers
from solo_plugins.losses.hadamard_pieces import Blocks, Cut, Form, Part
from solo_plugins.losses.products import multiply, operand
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

    H is the Kronecker product of Hadamard matrices of 16 rows at most. Projecting applies each as a
    small matrix product, one of them with the signs in it; neither H nor a (K, D) matrix is made.
    The cost of a sample and block is 2 P times the sum of the factors, 24 for P = 512, in place of
    the 2 P D operations of a dense product. The adjoint is the same products in another order.

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
        # Sylvester's smaller matrices are the corners of the larger ones.
        if matrix is None:
            matrix = sylvester(LARGEST_FACTOR, device=signs.device)
        factors = [matrix[:factor, :factor] for factor in kronecker_factors(self.size)]
        # The signs of outputs are those of the last factor's columns: (blocks, P / n, n, n).
        self._signed = factors[-1] * signs.unflatten(1, (-1, 1, len(factors[-1])))
        self._blocks = operand(self._signed), operand(self._signed.mT)
        self._signs, self._factors = signs.unsqueeze(2), factors
        # What pieces of one kind share.
        self._forms: dict[int, Form] = {}
        self._cuts: dict[range, Cut] = {}
        self._scale = self.dim**-0.5
        self._mix, self._group = mix, matrix[:_GROUP, :_GROUP]
        self._mixes: dict[torch.dtype, tuple[Tensor, Tensor]] = {}
        if mix is not None:
            if self.dim == self.size:
                self._order, self._rank = _inverse(places), places
            else:
                self._order = places.argsort()
                self._rank, places = _inverse(self._order), places[self._order]
        self._places = places

    def enter(self, samples: Tensor, buffers: Buffers) -> Tensor:
        """Put the outputs of samples (N, D) at their places in (P, N), zeros elsewhere.

        They are divided by the square root of D, so that what is left of directions is 1 and -1.
        """
        shape = (self.dim, len(samples))
        columns = buffers.take("left", shape, samples.dtype).copy_(samples.t())
        if self._mix is None:
            columns *= self._scale
        else:
            out = buffers.take("right", shape, samples.dtype)
            columns = self._mixed(torch.index_select(columns, 0, self._order, out=out))
            if self.dim == self.size:  # in the order of their places already
                return columns
        return columns.new_zeros(self.size, len(samples)).index_copy_(0, self._places, columns)

    def leave(self, columns: Tensor, buffers: Buffers) -> Tensor:
        """Take the outputs (N, D) from their places in (P, N)."""
        shape = (self.dim, columns.size(1))
        if self._mix is None or self.dim < self.size:
            out = buffers.take("left", shape, columns.dtype)
            columns = torch.index_select(columns, 0, self._places, out=out)
        if self._mix is None:
            return columns.mul_(self._scale).t()
        out = buffers.take("right", shape, columns.dtype)
        return torch.index_select(self._mixed(columns, back=True), 0, self._rank, out=out).t()

    def _mixed(self, columns: Tensor, *, back: bool = False) -> Tensor:
        """Multiply every eight of the rows (D, N) by their matrix, or by its transpose."""
        groups, signs = self._mix_in(columns.dtype)
        mixed = len(groups) * _GROUP
        rows = columns[:mixed].unflatten(0, (len(groups), _GROUP))
        out = torch.empty_like(rows)
        multiply(operand(groups.mT if back else groups), operand(rows), operand(out))
        result = out.flatten(0, 1)
        return result if mixed == len(columns) else torch.cat([result, columns[mixed:] * signs])

    def _mix_in(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Give what multiplies every eight outputs, (D / 8, 8, 8), and the rest of D, (rest, 1)."""
        if dtype not in self._mixes:
            assert self._mix is not None
            mixed = self.dim - self.dim % _GROUP
            signs = self._mix.to(dtype) * self._scale
            groups = signs[:mixed].view(-1, 1, _GROUP) * (self._group.to(dtype) * _GROUP**-0.5)
            self._mixes[dtype] = groups, signs[mixed:].unsqueeze(1)
        return self._mixes[dtype]

    def pieces(self, rows: range, chunk_size: int) -> Sequence[Piece]:
        """Cut into pieces of as many whole blocks as half of `chunk_size` holds, one at least.

        Half, since each factor's product is a buffer too. A block of more
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
            last = min(self.size, next_part, rows.stop - block * self.size)
            pieces.append(
                self._whole(block, whole) if whole else self._part(block, range(first, last))
            )
            start = block * self.size + (whole * self.size or last)
        return pieces

    def _whole(self, block: int, number: int) -> Piece:
        """Make a piece of whole blocks."""
        if number not in self._forms:
            shape = (self._signed.size(1), number * self._signed.size(2), self._signed.size(3))
            self._forms[number] = Form(self._factors[:-1], shape)
        if number == 1:
            signed, transposed = self._blocks
            return Blocks(signed[block], transposed[block], self._forms[number])
        some = self._signed[block : block + number].transpose(0, 1).flatten(1, 2)
        return Blocks(operand(some), operand(some.mT), self._forms[number])

    def _part(self, block: int, rows: range) -> Piece:
        """Make a piece of some rows of a block."""
        if rows not in self._cuts:
            self._cuts[rows] = Cut(self._factors, self.size, rows)
        return Part(self._signs[block], self._cuts[rows])

    def dense(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """Give the directions as unit rows (K, D), by projecting the unit vectors."""
        identity = torch.eye(self.dim, dtype=dtype, device=self._places.device)
        buffers = Buffers(self._places.device)
        columns = self.enter(identity, buffers)
        pieces = self.pieces(range(self.num), 1)
        rows = [piece.project(columns, 0, buffers, "outputs").clone() for piece in pieces]
        return torch.cat(rows)


def _inverse(order: Tensor) -> Tensor:
    return torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))
