# SPDX-License-Identifier: MIT
"""Squared differences of sorted samples, with their gradient, walked in chunks."""

__all__ = ["Outputs", "Projected", "Rows", "sorted_difference"]

from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable

from solo_plugins.rectified_lpjepa import processes
from solo_plugins.rectified_lpjepa.sorting import sort_, sort_with_order


class Rows(Protocol):
    """What is sorted: rows of numbers that samples (N, D) become, and how a gradient goes back.

    Rows are taken by parts, slices of all K rows; `view` tells whose samples they are.
    """

    shared: bool  # do the rows of all views come about in one way?

    def __len__(self) -> int: ...

    def share(self, rank: int, world_size: int, dtype: torch.dtype) -> "Rows":
        """Give those of one process: every W-th, ready for samples of this dtype."""

    def of(self, samples: Tensor, view: int, part: slice) -> Tensor:
        """Make new rows (part, N)."""

    def add_back_(self, gradient: Tensor, rows: Tensor, view: int, part: slice) -> None:
        """Add the gradient of rows to that of the samples, (N, D)."""


class Projected:
    """Rows of samples projected on directions.

    Args:
        directions: (V or 1, K, D).
    """

    def __init__(self, directions: Tensor) -> None:
        self.directions = directions
        self.shared = directions.size(0) == 1

    def __len__(self) -> int:
        return self.directions.size(1)

    def share(self, rank: int, world_size: int, dtype: torch.dtype) -> "Projected":
        """Give those of one process."""
        return Projected(self.directions.to(dtype)[:, rank::world_size])

    def of(self, samples: Tensor, view: int, part: slice) -> Tensor:
        """Make new rows (part, N)."""
        return self._chunk(view, part) @ samples.T

    def add_back_(self, gradient: Tensor, rows: Tensor, view: int, part: slice) -> None:
        """Add the gradient of rows to that of the samples, (N, D)."""
        gradient.addmm_(rows.T, self._chunk(view, part))

    def _chunk(self, view: int, part: slice) -> Tensor:
        return self.directions[view % self.directions.size(0), part]


class Outputs:
    """Rows of samples' outputs as they are, which needs no product with directions.

    Args:
        numbers: which of the D outputs.
    """

    shared = True

    def __init__(self, numbers: range) -> None:
        self.numbers = numbers

    def __len__(self) -> int:
        return len(self.numbers)

    def share(self, rank: int, world_size: int, dtype: torch.dtype) -> "Outputs":
        """Give those of one process; with more processes than outputs it may be none."""
        return Outputs(self.numbers[rank::world_size])

    def of(self, samples: Tensor, view: int, part: slice) -> Tensor:
        """Make new rows (part, N)."""
        # `contiguous` would hand over the samples themselves when there is one output
        return self._columns(samples, part).T.clone(memory_format=torch.contiguous_format)

    def add_back_(self, gradient: Tensor, rows: Tensor, view: int, part: slice) -> None:
        """Add the gradient of rows to that of the samples, (N, D)."""
        self._columns(gradient, part).add_(rows.T)

    def _columns(self, samples: Tensor, part: slice) -> Tensor:
        own = self.numbers[part]
        return samples[:, own.start : own.stop : own.step]


def sorted_difference(features: Tensor, target: Tensor, rows: Rows, chunk_size: int) -> Tensor:
    """Compute the mean squared difference of sorted rows.

    Args:
        features: outputs (V, N, D) of this process.
        target: R draws (R, V or 1, N, D), N of all processes; the sorted rows are averaged over R.
        rows: K rows of all processes.
        chunk_size: rows at a time.

    Returns:
        The mean over V, K and N, a scalar, the same on all processes.
    """
    return _SortedDifference.apply(features, target, rows, chunk_size)


class _SortedDifference(torch.autograd.Function):
    """Value and closed-form gradient in one walk over the rows."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, target: Tensor, rows: Rows, chunk_size: int) -> Tensor:
        rank, world_size = processes.rank(), processes.world_size()
        dtype = torch.promote_types(features.dtype, torch.float32)
        with torch.autocast(features.device.type, enabled=False):
            z = processes.gathered(features).to(dtype)
            y = target.detach().to(dtype)
            own = rows.share(rank, world_size, dtype)
            wants_gradient = ctx.needs_input_grad[0]
            value, gradient = _walk(z, y, own, chunk_size, with_gradient=wants_gradient)
            # Shares differ by one row at most: weigh each by its size.
            value /= len(rows) * z.size(0) * z.size(1)
            if world_size > 1:
                dist.all_reduce(value)
        if gradient is not None:
            gradient *= 2 / (len(rows) * z.size(0) * z.size(1))
            ctx.save_for_backward(gradient)
        ctx.place = (rank, world_size, features.dtype)
        return value

    @staticmethod
    @once_differentiable  # the gradient is kept as a number: it has no graph of its own
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient,) = ctx.saved_tensors
        rank, world_size, dtype = ctx.place
        if world_size > 1:
            # Each process has the gradient of its own rows only. The sum is the gradient of the
            # whole loss; times W, since DDP divides by it.
            gradient = gradient * world_size
            dist.all_reduce(gradient)
            own = gradient.size(1) // world_size
            gradient = gradient[:, rank * own : (rank + 1) * own]
        return (gradient * grad_outputs[0]).to(dtype), None, None, None


def _walk(
    z: Tensor, y: Tensor, rows: Rows, chunk_size: int, *, with_gradient: bool
) -> tuple[Tensor, Tensor | None]:
    """Sum squared sorted differences, and half their gradient, over views and rows.

    z is (V, N, D), y (R, V or 1, N, D).
    """
    value = z.new_zeros(())
    gradient = torch.zeros_like(z) if with_gradient else None
    shared = y.size(1) == 1 and rows.shared
    for start in range(0, len(rows), chunk_size):
        wanted, part = None, slice(start, start + chunk_size)
        for view in range(z.size(0)):
            if wanted is None or not shared:
                wanted = _wanted(rows, y[:, view % y.size(1)], view, part)
            into = None if gradient is None else gradient[view]
            value += _compare(rows, z[view], wanted, into, view, part)
    return value, gradient


def _wanted(rows: Rows, draws: Tensor, view: int, part: slice) -> Tensor:
    """Average the sorted rows of the draws (R, N, D), of which one at a time is in memory."""
    mean = sort_(rows.of(draws[0], view, part))
    for draw in draws[1:]:
        mean += sort_(rows.of(draw, view, part))
    return mean.div_(draws.size(0)) if draws.size(0) > 1 else mean


def _compare(
    rows: Rows, z: Tensor, wanted: Tensor, gradient: Tensor | None, view: int, part: slice
) -> Tensor:
    """One term of :func:`_walk`; its buffers are freed before the next one's are made."""
    own = rows.of(z, view, part)  # (chunk, N)
    if gradient is None:
        return sort_(own).sub_(wanted).square_().sum()
    values, order = sort_with_order(own)
    difference = values.sub_(wanted)
    own.scatter_(1, order, difference)
    rows.add_back_(gradient, own, view, part)
    return difference.square_().sum()
