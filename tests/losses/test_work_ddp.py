# SPDX-License-Identifier: MIT
"""The work of each of several processes: what is multiplied, sorted and exchanged."""

from collections import Counter
from collections.abc import Callable
from unittest import mock

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from solo_plugins.distributions import RectifiedGeneralizedGaussian
from solo_plugins.losses import DIRECTIONS, RDMReg, sorted_difference

KINDS = ("random", "hadamard")
SAMPLES, D, K = 24, 48, 700  # of all processes; 24 is a multiple of 1, 2, 3 and 4
pytestmark = pytest.mark.ddp


def _counted(counts: Counter, name: str, function: Callable, argument: int = 0) -> Callable:
    def call(*args: object, **kwargs: object) -> object:
        tensor = args[argument]
        assert isinstance(tensor, Tensor)
        counts[name] += tensor.numel()
        return function(*args, **kwargs)

    return call


def _work(kind: str) -> Counter:
    """Count a forward and backward pass of this process's share of the batch."""
    counts: Counter = Counter()
    rdm_reg = RDMReg(RectifiedGeneralizedGaussian(0.0, 1.0, 1.0), DIRECTIONS[kind](K))
    views = torch.rand(2, SAMPLES // dist.get_world_size(), D, requires_grad=True)
    sort, match = sorted_difference.sort_in_place, sorted_difference.match_by_rank

    def matmul(matrices: np.ndarray, data: np.ndarray, out: np.ndarray) -> np.ndarray:
        counts["flops"] += 2 * out.size * matrices.shape[-1]  # torch counts none of numpy's
        return product(matrices, data, out=out)

    product = np.matmul
    with (
        mock.patch.object(np, "matmul", matmul),
        mock.patch.object(sorted_difference, "sort_in_place", _counted(counts, "sorted", sort)),
        mock.patch.object(sorted_difference, "match_by_rank", _counted(counts, "sorted", match)),
        mock.patch.object(dist, "all_reduce", _counted(counts, "reduced", dist.all_reduce)),
        mock.patch.object(dist, "all_gather", _counted(counts, "gathered", dist.all_gather, 1)),
        FlopCounterMode(display=False) as flops,
    ):
        rdm_reg(views, generator=torch.Generator().manual_seed(0)).backward()
    counts["flops"] += flops.get_total_flops()
    return counts


def _process() -> dict[str, Counter]:
    torch.set_num_threads(1)  # counting modes see their own thread
    return {kind: _work(kind) for kind in KINDS}


@pytest.fixture(scope="module")
def work(gloo: Callable) -> dict[int, list[dict[str, Counter]]]:
    """Count for 1 to 4 processes."""
    return {world: gloo(_process, world_size=world) for world in range(1, 5)}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("world", [2, 3, 4])
def test_work_falls_as_one_over_the_number_of_processes(
    kind: str, world: int, work: dict[int, list[dict[str, Counter]]]
) -> None:
    (one,) = work[1]
    for rank in work[world]:
        # A process has K / W directions, rounded up or down, of two views and two targets.
        assert abs(rank[kind]["sorted"] - one[kind]["sorted"] / world) <= 4 * SAMPLES
        # Of a Hadamard matrix that is cut, whole groups of a first factor's row are computed: one
        # more than asked for at both ends, of 11 or 12 blocks of 64 directions in all.
        allowed = 0.01 if kind == "random" else 2 * 8 / K * world
        # Every eight outputs of two views and two targets are mixed once, and two gradients back.
        mix = 0 if kind == "random" else 6 * SAMPLES * 2 * 8 * D
        share = (one[kind]["flops"] - mix) / world
        assert rank[kind]["flops"] - mix == pytest.approx(share, rel=allowed)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("world", [2, 3, 4])
def test_features_and_one_gradient_are_exchanged(
    kind: str, world: int, work: dict[int, list[dict[str, Counter]]]
) -> None:
    for rank in work[world]:
        assert rank[kind]["gathered"] == 2 * SAMPLES // world * D
        assert rank[kind]["reduced"] == 2 * SAMPLES * D + 1  # and the value
