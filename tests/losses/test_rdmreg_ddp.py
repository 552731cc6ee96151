# SPDX-License-Identifier: MIT
"""Two gloo processes with different data against one process with the joined batch."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from solo_plugins.distributions import RectifiedGeneralizedGaussian
from solo_plugins.losses import DIRECTIONS, RDMReg, random_directions, sliced_wasserstein

WORLD, N, D, K = 2, 8, 5, 15  # an odd number of projections: unequal shares


def _model() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(3, D)


def _batch() -> Tensor:
    return torch.randn(2, WORLD * N, 3, generator=torch.Generator().manual_seed(1))


def _outputs(model: nn.Module, batch: Tensor) -> Tensor:
    return model(batch.flatten(0, 1)).unflatten(0, batch.shape[:2])


def _loss(kind: str, outputs: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    if kind == "explicit":
        target = torch.randn(2, WORLD * N, D, generator=generator)
        return sliced_wasserstein(outputs, target, random_directions(K, D, generator=generator))
    rdm_reg = RDMReg(RectifiedGeneralizedGaussian(0.0, 1.0, 1.0), DIRECTIONS[kind](K))
    return rdm_reg(outputs, generator=generator)


def _process(rank: int, kind: str, folder: str) -> None:
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/init", rank=rank, world_size=WORLD
    )
    torch.set_num_threads(1)
    model = DistributedDataParallel(_model())
    loss = _loss(kind, _outputs(model, _batch()[:, rank * N : (rank + 1) * N]))
    loss.backward()
    torch.save((loss.detach(), model.module.weight.grad), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.ddp
@pytest.mark.parametrize("kind", ["explicit", "random", "torch_svd_and_random"])
def test_two_processes_are_one_with_the_joined_batch(kind: str, tmp_path: Path) -> None:
    ranks = [
        subprocess.Popen([sys.executable, __file__, str(rank), kind, str(tmp_path)])
        for rank in range(WORLD)
    ]
    assert [rank.wait(timeout=120) for rank in ranks] == [0] * WORLD
    model = _model()
    wanted = _loss(kind, _outputs(model, _batch()))
    wanted.backward()
    for rank in range(WORLD):
        value, gradient = torch.load(tmp_path / f"{rank}.pt")
        torch.testing.assert_close(value, wanted.detach())
        torch.testing.assert_close(gradient, model.weight.grad)


if __name__ == "__main__":
    _process(int(sys.argv[1]), sys.argv[2], sys.argv[3])
