# SPDX-License-Identifier: MIT
"""Gloo processes with different outputs move their thresholds as one with all of them."""

from collections.abc import Callable

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from solo_plugins.modules import ThresholdedReLU

WORLD, N, D = 2, 16, 5
WANTED = (0.3, 0.5, 0.6)


def _outputs() -> Tensor:
    return torch.randn(WORLD * N, D, generator=torch.Generator().manual_seed(0))


def _thresholds() -> dict[float, Tensor]:
    """Return the thresholds after one step towards each share."""
    outputs, found = _outputs().split(N)[dist.get_rank()], {}
    for wanted in WANTED:
        relu = ThresholdedReLU(D)
        relu.adjust(relu.eval()(outputs), wanted, 0.1)
        found[wanted] = relu.threshold
    return found


@pytest.fixture(scope="module")
def ranks(gloo: Callable) -> list[dict[float, Tensor]]:
    return gloo(_thresholds, world_size=WORLD)


@pytest.mark.ddp
@pytest.mark.parametrize("rank", range(WORLD))
@pytest.mark.parametrize("wanted", WANTED)
def test_thresholds_are_those_of_the_joined_batch(
    wanted: float, rank: int, ranks: list[dict[float, Tensor]]
) -> None:
    share = (_outputs() > 0).float().mean(dim=0)
    # the spread is 1 before a training step
    step = 0.1 * ((share - wanted) / min(wanted, 1 - wanted)).clamp(-1, 1)
    torch.testing.assert_close(ranks[rank][wanted], step)
