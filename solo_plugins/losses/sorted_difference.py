# SPDX-License-Identifier: MIT
"""Squared differences of sorted projections, with their gradient, walked in pieces."""

__all__ = ["sorted_difference"]

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable

from solo_plugins import distributed
from solo_plugins.losses.buffers import Buffers
from solo_plugins.losses.ordering import match_by_rank, sort_in_place
from solo_plugins.losses.projections import Piece, Projections
from solo_plugins.losses.workers import in_parallel, number_of_jobs, share_of


def sorted_difference(
    features: Tensor, target: Tensor, projections: Projections, chunk_size: int
) -> Tensor:
    """Compute the mean squared difference of sorted projections.

    Args:
        features: outputs (V, N, D) of this process.
        target: samples (V or 1, N, D), N of all processes.
        projections: K directions, the same on all processes.
        chunk_size: projections at a time.

    Returns:
        The mean over V, K and N, a scalar, the same on all processes.
    """
    return _SortedDifference.apply(features, target, projections, chunk_size)


class _SortedDifference(torch.autograd.Function):
    """Value and closed-form gradient in one walk over the projections."""

    @staticmethod
    def forward(
        ctx: Any, features: Tensor, target: Tensor, projections: Projections, chunk_size: int
    ) -> Tensor:
        rank, world_size = distributed.rank(), distributed.world_size()
        dtype = torch.promote_types(features.dtype, torch.float32)
        with torch.autocast(features.device.type, enabled=False):
            z = projections.enter(distributed.gather(features).to(dtype))
            y = projections.enter(target.detach().to(dtype))
            own = share_of(range(projections.num), rank, world_size)
            walk = _Walk(z, y, projections, chunk_size, ctx.needs_input_grad[0])
            value, gradient = walk.over(own)
            # The processes' numbers of projections differ by one at most: weigh each by its own.
            count = projections.num * z.size(0) * z.size(2)
            value /= count
            if world_size > 1:
                dist.all_reduce(value)
            if gradient is not None:
                ctx.save_for_backward(projections.leave(gradient.mul_(2 / count)))
        ctx.place = (rank, world_size, features.dtype)
        return value

    @staticmethod
    @once_differentiable  # the gradient is kept as a number: it has no graph of its own
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient,) = ctx.saved_tensors
        rank, world_size, dtype = ctx.place
        if world_size > 1:
            # Each process has the gradient of its own projections only. The sum is the gradient of
            # the whole loss; times W, since DDP divides by it.
            gradient = (gradient * world_size).contiguous()
            dist.all_reduce(gradient)
            own = gradient.size(1) // world_size
            gradient = gradient[:, rank * own : (rank + 1) * own]
        return (gradient * grad_outputs[0]).to(dtype), None, None, None


class _Walk:
    """Sums of squared sorted differences, and half their gradient, over views and directions.

    Args:
        z: outputs (V, C, N), as the projections take them.
        y: target samples (V or 1, C, N), likewise.
        projections: the directions.
        chunk_size: projections at a time, of all threads together.
        with_gradient: whether the gradient is computed.
    """

    def __init__(
        self, z: Tensor, y: Tensor, projections: Projections, chunk_size: int, with_gradient: bool
    ) -> None:
        self.z, self.y, self.projections = z, y, projections
        self.chunk_size, self.with_gradient = chunk_size, with_gradient
        self.shared = y.size(0) == 1 and projections.num_views == 1

    def over(self, rows: range) -> tuple[Tensor, Tensor | None]:
        """Sum over some directions, shared out to the threads of a CPU.

        Args:
            rows: their numbers.

        Returns:
            The sum, a scalar, and half its gradient (V, C, N).
        """
        num_views, _, num_samples = self.z.shape
        jobs = number_of_jobs(len(rows) * num_views * num_samples, self.z.device)
        chunk_size = max(1, self.chunk_size // jobs)
        shares = [
            partial(self._sum, self.projections.pieces(share_of(rows, job, jobs), chunk_size))
            for job in range(jobs)
        ]
        (value, gradient), *others = in_parallel(shares)
        for other_value, other_gradient in others:
            value += other_value
            if gradient is not None and other_gradient is not None:
                gradient += other_gradient
        return value, gradient

    def _sum(self, pieces: Sequence[Piece]) -> tuple[Tensor, Tensor | None]:
        value = self.z.new_zeros(())
        gradient = torch.zeros_like(self.z) if self.with_gradient else None
        buffers = Buffers(self.z.device)
        for piece in pieces:
            sorted_target = None
            for view in range(self.z.size(0)):
                if sorted_target is None or not self.shared:
                    columns = self.y[view % self.y.size(0)]
                    projected = piece.project(columns, view, buffers, "target")
                    sorted_target = sort_in_place(projected)
                into = None if gradient is None else gradient[view]
                value += _compare(self.z[view], sorted_target, piece, view, into, buffers)
        return value, gradient


def _compare(
    columns: Tensor,
    sorted_target: Tensor,
    piece: Piece,
    view: int,
    gradient: Tensor | None,
    buffers: Buffers,
) -> Tensor:
    """Compute one term of the sum."""
    projected = piece.project(columns, view, buffers, "outputs")
    if gradient is None:
        return _sum_of_squares(sort_in_place(projected).sub_(sorted_target))
    difference = projected.sub_(match_by_rank(projected, sorted_target, buffers))
    value = _sum_of_squares(difference)
    piece.back(difference, gradient, view, buffers)
    return value


def _sum_of_squares(rows: Tensor) -> Tensor:
    flat = rows.flatten()
    return torch.dot(flat, flat)
