# SPDX-License-Identifier: MIT
"""The processes that train together, asked for at each call, and their joined batch."""

__all__ = ["gathered", "mean_over_processes", "rank", "world_size"]

import torch
import torch.distributed as dist
from torch import Tensor


def rank() -> int:
    """Give the number of this process, 0 without `torch.distributed`."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def world_size() -> int:
    """Give the number of processes, 1 without `torch.distributed`."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def gathered(views: Tensor) -> Tensor:
    """Join the (V, N, D) of all processes along N, without a gradient."""
    if world_size() == 1:
        return views.detach()
    parts = [torch.empty_like(views) for _ in range(world_size())]
    dist.all_gather(parts, views.detach().contiguous())
    return torch.cat(parts, dim=1)


def mean_over_processes(values: Tensor) -> Tensor:
    """Average over the processes of `torch.distributed`, if it is initialised.

    Args:
        values: any shape, the same on all processes; without a gradient.

    Returns:
        The mean, the same on all processes; `values` may be changed.
    """
    if world_size() == 1:
        return values
    dist.all_reduce(values)
    return values / world_size()
