# SPDX-License-Identifier: MIT
"""The processes that train together, and operations over all of them."""

__all__ = [
    "end_group",
    "first_says",
    "gather",
    "gather_objects",
    "gather_rows",
    "max_over_processes",
    "mean_over_processes",
    "rank",
    "started_by_torchrun",
    "sum_over_processes",
    "wait_for_all",
    "world_size",
]

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.nn.functional import all_reduce


def rank() -> int:
    """Return the number of this process, 0 without `torch.distributed`."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def world_size() -> int:
    """Return the number of processes, 1 without `torch.distributed`."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


# A thread of gloo's may still let go of the last exchange's tensors, for which it needs Python's
# lock: torch 2.6 waits for the thread with that lock, for ever. Meanwhile it gets it.
_LET_GO = 0.05  # seconds: no hang in 600 groups; with a barrier in its place the fourth one hung


@contextmanager
def started_by_torchrun() -> Iterator[None]:
    """Join the processes that torchrun has started, on CPUs and GPUs; alone there is nothing to do.

    Yields:
        None.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or dist.is_initialized():
        yield
        return
    # Processes may wait for the slowest one as long as all of its work takes.
    dist.init_process_group("gloo", timeout=timedelta(days=7))
    try:
        yield
    finally:
        end_group()


def end_group() -> None:
    """End the group of processes, when gloo's threads have let go of the last exchange."""
    time.sleep(_LET_GO)
    dist.destroy_process_group()


def first_says(value: Any) -> Any:
    """Tell all processes what the first one has.

    Args:
        value: anything that pickle takes; only the first process's counts.

    Returns:
        The first process's value.
    """
    values = [value]
    if world_size() > 1:
        dist.broadcast_object_list(values)
    return values[0]


def wait_for_all() -> None:
    """Return when all processes have come here."""
    if world_size() > 1:
        dist.barrier()


def gather(views: Tensor) -> Tensor:
    """Join the outputs of all processes, without a gradient.

    Args:
        views: outputs (V, N, D), of one shape on all processes.

    Returns:
        Outputs (V, processes x N, D) in the order of the ranks, the same on all processes.
    """
    if world_size() == 1:
        return views.detach()
    parts = [torch.empty_like(views) for _ in range(world_size())]
    dist.all_gather(parts, views.detach().contiguous())
    return torch.cat(parts, dim=1)


def gather_objects(value: Any) -> list[Any]:
    """Collect plain values and CPU tensors of all processes on the first one.

    Args:
        value: anything that pickle takes.

    Returns:
        The values in the order of the ranks; on all processes but the first an empty list.
    """
    if world_size() == 1:
        return [value]
    values = [None] * world_size() if rank() == 0 else None
    dist.gather_object(value, values)
    return values or []


def gather_rows(z: Tensor) -> Tensor:
    """Join the rows of all processes, with a gradient to those of every process.

    Args:
        z: rows (N, ...), as many on each process.

    Returns:
        Rows (processes x N, ...) in the order of the ranks, the same on all processes; `z` itself
        if there is one process.
    """
    if world_size() == 1:
        return z
    whole = z.new_zeros(world_size(), *z.shape)
    whole[rank()] = z
    return sum_over_processes(whole).flatten(0, 1)


def sum_over_processes(values: Tensor) -> Tensor:
    """Sum over processes, with a gradient.

    Args:
        values: any shape, the same on all processes.

    Returns:
        The sum, the same on all processes; `values` itself if there is one process.
    """
    return values if world_size() == 1 else all_reduce(values)


@torch.no_grad()
def max_over_processes(values: Tensor) -> Tensor:
    """Take the largest of each value over processes.

    Args:
        values: any shape, the same on all processes; may be changed.

    Returns:
        The largest, the same on all processes; `values` itself if there is one process.
    """
    if world_size() > 1:
        dist.all_reduce(values, dist.ReduceOp.MAX)
    return values


@torch.no_grad()
def mean_over_processes(values: Tensor) -> Tensor:
    """Average over processes, without a gradient.

    Args:
        values: any shape, the same on all processes; may be changed.

    Returns:
        The mean, the same on all processes; `values` itself if there is one process.
    """
    if world_size() == 1:
        return values
    dist.all_reduce(values)
    return values / world_size()
