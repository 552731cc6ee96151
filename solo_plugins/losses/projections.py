# SPDX-License-Identifier: MIT
"""Projections on unit directions as an operator, which a dense matrix is one form of."""

__all__ = ["DenseProjections", "Piece", "Projections", "as_projections"]

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from solo_plugins.losses.buffers import Buffers


class Piece(Protocol):
    """Some R of the directions, which are projected on at a time."""

    def project(self, columns: Tensor, view: int, buffers: Buffers, name: str) -> Tensor:
        """Project samples.

        Args:
            columns: one view's samples in the form that :meth:`Projections.enter` gives, (C, N).
            view: the number of the view, for directions that differ between views.
            buffers: memory of this thread; "left" and "right" are changed.
            name: the buffer for the result, another one.

        Returns:
            Projections (R, N) in that buffer, contiguous: the caller may change them.
        """

    def back(self, rows: Tensor, into: Tensor, view: int, buffers: Buffers) -> None:
        """Add to `into` (C, N) what the adjoint of :meth:`project` makes of `rows` (R, N).

        `rows` may be changed, and so are the buffers "left" and "right".
        """


class Projections(Protocol):
    """K unit directions for samples of D outputs, and how to project on some of them."""

    @property
    def num(self) -> int:
        """K."""

    @property
    def dim(self) -> int:
        """D."""

    @property
    def num_views(self) -> int:
        """How many views have directions of their own; 1 if all share them."""

    def enter(self, samples: Tensor, buffers: Buffers) -> Tensor:
        """Bring samples (N, D) into the form (C, N) that pieces take.

        The buffers "left" and "right" are changed.
        """

    def leave(self, columns: Tensor, buffers: Buffers) -> Tensor:
        """Bring a gradient (C, N) back into the form (N, D); the adjoint of `enter`.

        The buffers "left" and "right" are changed, and the result may be in one of them.
        """

    def pieces(self, rows: range, chunk_size: int) -> Sequence[Piece]:
        """Cut some of the directions into pieces.

        Args:
            rows: numbers of directions, from 0 to K, with a step of 1.
            chunk_size: the number of directions that a piece should have.
        """

    def dense(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """Give the directions as unit rows (K, D), or (V, K, D) if views have their own."""


class DenseProjections:
    """Directions that are held as a matrix.

    Args:
        directions: unit rows (K, D) for all views or (V, K, D).

    Example:
        >>> projections = DenseProjections(torch.eye(3))
        >>> buffers = Buffers(torch.device("cpu"))
        >>> columns = projections.enter(torch.arange(6.0).view(2, 3), buffers)
        >>> (piece,) = projections.pieces(range(1, 3), 2)
        >>> piece.project(columns, 0, buffers, "outputs")
        tensor([[1., 4.],
                [2., 5.]])
    """

    def __init__(self, directions: Tensor) -> None:
        self._directions = directions if directions.ndim == 3 else directions.unsqueeze(0)
        self._given = directions

    @property
    def num(self) -> int:
        """K."""
        return self._directions.size(1)

    @property
    def dim(self) -> int:
        """D."""
        return self._directions.size(2)

    @property
    def num_views(self) -> int:
        """V, or 1 if all views share the directions."""
        return self._directions.size(0)

    def enter(self, samples: Tensor, buffers: Buffers) -> Tensor:
        """Transpose, without a copy."""
        return samples.t()

    def leave(self, columns: Tensor, buffers: Buffers) -> Tensor:
        """Transpose, without a copy."""
        return columns.t()

    def pieces(self, rows: range, chunk_size: int) -> Sequence[Piece]:
        """Cut into pieces of `chunk_size` directions; the last may have fewer."""
        some = self._directions[:, rows.start : rows.stop]
        return [_Rows(chunk) for chunk in some.split(chunk_size, dim=1)]

    def dense(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """Give the rows that this was made of."""
        return self._given.to(dtype)


@dataclass(frozen=True)
class _Rows:
    """Rows (V or 1, R, D) of a matrix."""

    directions: Tensor

    def project(self, columns: Tensor, view: int, buffers: Buffers, name: str) -> Tensor:
        directions = self._of(view, columns.dtype)
        out = buffers.take(name, (len(directions), columns.size(1)), columns.dtype)
        return torch.matmul(directions, columns, out=out)

    def back(self, rows: Tensor, into: Tensor, view: int, buffers: Buffers) -> None:
        into.addmm_(self._of(view, into.dtype).T, rows)

    def _of(self, view: int, dtype: torch.dtype) -> Tensor:
        return self.directions[view % self.directions.size(0)].to(dtype)


def as_projections(directions: Tensor | Projections) -> Projections:
    """Take a matrix (K, D) or (V, K, D) for the projections on its rows; others stay."""
    return DenseProjections(directions) if isinstance(directions, Tensor) else directions
