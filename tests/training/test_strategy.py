# SPDX-License-Identifier: MIT
"""Logged values of two processes, against Lightning's own reduction."""

from collections.abc import Callable

import pytest
import torch
import torch.distributed as dist
from lightning.pytorch.strategies import DDPStrategy

from solo_plugins.training.strategy import DataParallel


def _reduced() -> tuple[list[torch.Tensor], list[torch.Tensor], int]:
    def values() -> list[torch.Tensor]:
        rank = dist.get_rank()
        return [torch.tensor(0.1 + rank), torch.tensor([1.0, 3.0 * rank]), torch.tensor(4 + rank)]

    operations = ("mean", "sum", "mean")
    theirs = [DDPStrategy().reduce(v, None, op) for v, op in zip(values(), operations, strict=True)]
    barriers, barrier = [], dist.barrier
    dist.barrier = lambda *_, **__: barriers.append(1)
    ours = [DataParallel().reduce(v, None, op) for v, op in zip(values(), operations, strict=True)]
    dist.barrier = barrier
    return theirs, ours, len(barriers)


@pytest.mark.ddp
def test_values_are_reduced_as_by_lightning_without_a_barrier(gloo: Callable) -> None:
    for theirs, ours, barriers in gloo(_reduced):
        assert all(torch.equal(a, b) for a, b in zip(theirs, ours, strict=True))
        assert barriers == 1  # of the integer, which Lightning reduces; none is logged in a step
