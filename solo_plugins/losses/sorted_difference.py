# SPDX-License-Identifier: MIT
"""Squared differences of sorted projections, with their gradient, walked in chunks."""

__all__ = ["sort_with_order", "sorted_difference"]

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable

from solo_plugins import distributed


def sorted_difference(
    features: Tensor, target: Tensor, projections: Tensor, chunk_size: int
) -> Tensor:
    """Compute the mean squared difference of sorted projections.

    Args:
        features: outputs (V, N, D) of this process.
        target: samples (V or 1, N, D), N of all processes.
        projections: directions (V or 1, K, D), the same on all processes.
        chunk_size: projections at a time.

    Returns:
        The mean over V, K and N, a scalar, the same on all processes.
    """
    return _SortedDifference.apply(features, target, projections, chunk_size)


class _SortedDifference(torch.autograd.Function):
    """Value and closed-form gradient in one walk over the projections."""

    @staticmethod
    def forward(
        ctx: Any, features: Tensor, target: Tensor, projections: Tensor, chunk_size: int
    ) -> Tensor:
        rank, world_size = distributed.rank(), distributed.world_size()
        dtype = torch.promote_types(features.dtype, torch.float32)
        with torch.autocast(features.device.type, enabled=False):
            z = distributed.gather(features).to(dtype)
            y = target.detach().to(dtype)
            own = projections.to(dtype)[:, rank::world_size]
            wants_gradient = ctx.needs_input_grad[0]
            value, gradient = _walk(z, y, own, chunk_size, with_gradient=wants_gradient)
            # The processes' numbers of projections differ by one at most: weigh each by its own.
            count = projections.size(1) * z.size(0) * z.size(1)
            value /= count
            if world_size > 1:
                dist.all_reduce(value)
        if gradient is not None:
            gradient *= 2 / count
            ctx.save_for_backward(gradient)
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
            gradient = gradient * world_size
            dist.all_reduce(gradient)
            own = gradient.size(1) // world_size
            gradient = gradient[:, rank * own : (rank + 1) * own]
        return (gradient * grad_outputs[0]).to(dtype), None, None, None


def _walk(
    z: Tensor, y: Tensor, projections: Tensor, chunk_size: int, *, with_gradient: bool
) -> tuple[Tensor, Tensor | None]:
    """Sum squared sorted differences, and half their gradient, over views and projections."""
    value = z.new_zeros(())
    gradient = torch.zeros_like(z) if with_gradient else None
    shared = y.size(0) == 1 and projections.size(0) == 1
    for chunk in projections.split(chunk_size, dim=1):
        sorted_target = None
        for view in range(z.size(0)):
            directions = chunk[view % chunk.size(0)]
            if sorted_target is None or not shared:
                sorted_target = _sort_(directions @ y[view % y.size(0)].T)
            into = None if gradient is None else gradient[view]
            value += _compare(z[view], sorted_target, directions, into)
    return value, gradient


def _compare(
    z: Tensor, sorted_target: Tensor, directions: Tensor, gradient: Tensor | None
) -> Tensor:
    """Compute one term of :func:`_walk`; its buffers are freed before the next one's are made."""
    projected = directions @ z.T  # (chunk, N)
    if gradient is None:
        return _sort_(projected).sub_(sorted_target).square_().sum()
    values, order = sort_with_order(projected)
    difference = values.sub_(sorted_target)
    projected.scatter_(1, order, difference)
    gradient.addmm_(projected.T, directions)
    return difference.square_().sum()


def sort_with_order(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Sort along the last dimension and tell where each value came from."""
    if rows.device.type != "cpu" or rows.dtype != torch.float32:
        return rows.sort(dim=-1)
    # Here numpy's sort is vectorised and torch's is not. A float32 leaves 29 bits of a float64
    # free: the column goes into them and is sorted along.
    packed = rows.double()
    bits = packed.view(torch.int64)
    bits |= torch.arange(rows.size(-1))
    packed.numpy().sort(axis=-1)
    values = packed.float()
    bits &= 2**29 - 1
    return values, bits


def _sort_(rows: Tensor) -> Tensor:
    """Sort along the last dimension, in place where that is possible."""
    if rows.device.type == "cpu":
        rows.numpy().sort(axis=-1)
        return rows
    return rows.sort(dim=-1).values
