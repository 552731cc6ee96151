# SPDX-License-Identifier: MIT
"""Gloo processes with different data against one process with the joined batch."""

import re
from collections.abc import Callable
from unittest import mock

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from solo_plugins.distributions import RectifiedGeneralizedGaussian
from solo_plugins.losses import (
    DIRECTIONS,
    RDMReg,
    random_directions,
    sliced_wasserstein,
    sorted_difference,
)

WORLD, N, D, K = 2, 8, 5, 15  # an odd number of projections: unequal shares
KINDS = ("explicit", "random", "torch_svd_and_random", "hadamard", "hadamard, views joined")
# the target's shape, the number of projections, and what two processes say of them
REFUSED = {
    "local-target": ((N, D), K, r"`target` to have shape \(16, 5\) .* 2 proc.* but got \(8, 5\)"),
    "few-projections": ((2 * N, D), 1, "one of the `projections` for each of 2 proc.* but got 1"),
}
pytestmark = [
    pytest.mark.ddp,
    pytest.mark.filterwarnings("ignore:Some outputs are negative"),  # of both signs, on purpose
]


def _loss(kind: str, outputs: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    if kind == "explicit":
        target = torch.randn(2, WORLD * N, D, generator=generator)
        return sliced_wasserstein(outputs, target, random_directions(K, D, generator=generator))
    name, _, joined = kind.partition(", ")
    rdm_reg = RDMReg(RectifiedGeneralizedGaussian(0.0, 1.0, 1.0), DIRECTIONS[name](K))
    with mock.patch.object(sorted_difference, "joins_views", return_value=bool(joined)):
        return rdm_reg(outputs, generator=generator)


def _step(kind: str, share: slice) -> tuple[Tensor, Tensor]:
    """Return loss and gradient of a linear model on a share of the batch."""
    torch.manual_seed(0)
    linear = nn.Linear(3, D)
    model = DistributedDataParallel(linear) if dist.is_initialized() else linear
    batch = torch.randn(2, WORLD * N, 3, generator=torch.Generator().manual_seed(1))[:, share]
    loss = _loss(kind, model(batch.flatten(0, 1)).unflatten(0, batch.shape[:2]))
    loss.backward()
    return loss.detach(), linear.weight.grad


def _refusal(target: tuple[int, int], num_projections: int, message: str) -> str:
    with pytest.raises(ValueError, match=message) as error:
        sliced_wasserstein(torch.ones(N, D), torch.ones(target), torch.ones(num_projections, D))
    return str(error.value)


def _process() -> dict[str, tuple[Tensor, Tensor] | str]:
    share = slice(dist.get_rank() * N, (dist.get_rank() + 1) * N)
    steps = {kind: _step(kind, share) for kind in KINDS}
    return {**steps, **{case: _refusal(*given) for case, given in REFUSED.items()}}


@pytest.fixture(scope="module")
def ranks(gloo: Callable) -> list[dict]:
    """Start the processes once for all that is asked of them."""
    return gloo(_process, world_size=WORLD)


@pytest.mark.parametrize("rank", range(WORLD))
@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_are_one_with_the_joined_batch(
    kind: str, rank: int, ranks: list[dict]
) -> None:
    torch.testing.assert_close(ranks[rank][kind], _step(kind, slice(None)))


@pytest.mark.parametrize("rank", range(WORLD))
@pytest.mark.parametrize("case", REFUSED)
def test_two_processes_need_a_joint_target_and_a_share_each(
    case: str, rank: int, ranks: list[dict]
) -> None:
    assert re.search(REFUSED[case][2], ranks[rank][case])
