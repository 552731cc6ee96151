# SPDX-License-Identifier: MIT
"""Two gloo processes with different outputs move their thresholds as one with all of them."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from solo_plugins.modules import ThresholdedReLU

WORLD, N, D = 2, 16, 5


def _outputs() -> Tensor:
    return torch.randn(WORLD * N, D, generator=torch.Generator().manual_seed(0))


def _process(rank: int, folder: str) -> None:
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/init", rank=rank, world_size=WORLD
    )
    relu = ThresholdedReLU(D)
    relu.adjust(relu.eval()(_outputs()[rank * N : (rank + 1) * N]), 0.3, 0.1)
    torch.save(relu.threshold, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.ddp
def test_thresholds_are_those_of_the_joined_batch(tmp_path: Path) -> None:
    ranks = [
        subprocess.Popen([sys.executable, __file__, str(rank), str(tmp_path)])
        for rank in range(WORLD)
    ]
    assert [rank.wait(timeout=120) for rank in ranks] == [0] * WORLD
    share = (_outputs() > 0).float().mean(dim=0)
    wanted = 0.1 * ((share - 0.3) / 0.3).clamp(-1, 1)  # the spread is 1 before a training step
    for rank in range(WORLD):
        torch.testing.assert_close(torch.load(tmp_path / f"{rank}.pt"), wanted)


if __name__ == "__main__":
    _process(int(sys.argv[1]), sys.argv[2])
