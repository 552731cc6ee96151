# SPDX-License-Identifier: MIT
"""Squared differences of sorted samples, with their gradient, walked in chunks."""

__all__ = ["sorted_difference"]

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable

from solo_plugins.rectified_lpjepa import processes
from solo_plugins.rectified_lpjepa.sorting import sort_, sort_with_order


def sorted_difference(
    features: Tensor, target: Tensor, projections: Tensor, chunk_size: int
) -> Tensor:
    """Compute the mean squared difference of sorted projections, a scalar.

    Args:
        features: outputs (V, N, D) of this process.
        target: samples (N, D) or (V, N, D), N of all processes.
        projections: directions (K, D) or (V, K, D).
        chunk_size: projections at a time.
    """
    return _SortedDifference.apply(features, target, projections, chunk_size)


class _SortedDifference(torch.autograd.Function):
    """Value and closed-form gradient in one walk over the projections."""

    @staticmethod
    def forward(
        ctx: Any, features: Tensor, target: Tensor, projections: Tensor, chunk_size: int
    ) -> Tensor:
        rank, world_size = processes.rank(), processes.world_size()
        dtype = torch.promote_types(features.dtype, torch.float32)
        with torch.autocast(features.device.type, enabled=False):
            z = processes.gathered(features).to(dtype)
            y = target.detach().to(dtype)
            y = y if y.ndim == 3 else y.unsqueeze(0)
            c = projections.detach().to(dtype)
            c = (c if c.ndim == 3 else c.unsqueeze(0))[:, rank::world_size]
            wants_gradient = ctx.needs_input_grad[0]
            value, gradient = _walk(z, y, c, chunk_size, with_gradient=wants_gradient)
            # Shares differ by one projection at most: weigh each by its size.
            num_projections = projections.size(-2)
            value /= num_projections * z.size(0) * z.size(1)
            if world_size > 1:
                dist.all_reduce(value)
        if gradient is not None:
            gradient *= 2 / (num_projections * z.size(0) * z.size(1))
            ctx.save_for_backward(gradient)
        ctx.place = (rank, world_size, features.dtype)
        return value

    @staticmethod
    @once_differentiable  # the gradient is kept as a number: it has no graph of its own
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient,) = ctx.saved_tensors
        rank, world_size, dtype = ctx.place
        if world_size > 1:
            # Each process has the gradient of its own projections only. The sum is the gradient
            # of the whole loss; times W, since DDP divides by it.
            gradient = gradient * world_size
            dist.all_reduce(gradient)
            own = gradient.size(1) // world_size
            gradient = gradient[:, rank * own : (rank + 1) * own]
        return (gradient * grad_outputs[0]).to(dtype), None, None, None


def _walk(
    z: Tensor, y: Tensor, c: Tensor, chunk_size: int, *, with_gradient: bool
) -> tuple[Tensor, Tensor | None]:
    """Sum squared sorted differences, and half their gradient, over views and projections.

    z is (V, N, D), y (V or 1, N, D), c (V or 1, K, D).
    """
    value = z.new_zeros(())
    gradient = torch.zeros_like(z) if with_gradient else None
    shared = y.size(0) == 1 and c.size(0) == 1
    for start in range(0, c.size(1), chunk_size):
        wanted = None
        for view in range(z.size(0)):
            chunk = c[view % c.size(0), start : start + chunk_size]
            if wanted is None or not shared:
                wanted = sort_(chunk @ y[view % y.size(0)].T)
            into = None if gradient is None else gradient[view]
            value += _compare(chunk, z[view], wanted, into)
    return value, gradient


def _compare(chunk: Tensor, z: Tensor, wanted: Tensor, gradient: Tensor | None) -> Tensor:
    """One term of :func:`_walk`; its buffers are freed before the next one's are made."""
    projected = chunk @ z.T  # (chunk, N)
    if gradient is None:
        return sort_(projected).sub_(wanted).square_().sum()
    values, order = sort_with_order(projected)
    difference = values.sub_(wanted)
    projected.scatter_(1, order, difference)
    gradient.addmm_(projected.T, chunk)
    return difference.square_().sum()
