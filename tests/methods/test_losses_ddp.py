# SPDX-License-Identifier: MIT
"""Two gloo processes with different data against one process with the joined batch."""

import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

WORLD, N, D = 2, 12, 4


def _losses(model: nn.Module, batch: Tensor) -> dict[str, Tensor]:
    from solo_plugins.framework import simclr_loss, vicreg_loss
    from solo_plugins.losses import SIGReg

    first, second = (model(view) for view in batch)
    return {
        "sigreg": SIGReg(6)([first, second], generator=torch.Generator().manual_seed(2)),
        "simclr": simclr_loss(first, second, temperature=0.2),
        "vicreg": vicreg_loss(first, second),
    }


def _values_and_gradients(share: slice) -> dict[str, tuple[Tensor, Tensor]]:
    torch.manual_seed(0)
    model, batch = nn.Linear(3, D), torch.randn(2, WORLD * N, 3)
    losses = _losses(model, batch[:, share])
    return {
        name: (loss.detach(), *torch.autograd.grad(loss, model.weight, retain_graph=True))
        for name, loss in losses.items()
    }


def _process(rank: int, folder: str) -> None:
    method = f"file://{folder}/init"
    dist.init_process_group("gloo", init_method=method, rank=rank, world_size=WORLD)
    torch.set_num_threads(1)
    found = _values_and_gradients(slice(rank * N, (rank + 1) * N))
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.ddp
def test_losses_of_two_processes_are_those_of_the_joined_batch(tmp_path: Path) -> None:
    ranks = [
        subprocess.Popen([sys.executable, "-W", "ignore", __file__, str(rank), str(tmp_path)])
        for rank in range(WORLD)
    ]
    assert [rank.wait(timeout=120) for rank in ranks] == [0] * WORLD
    found = [torch.load(tmp_path / f"{rank}.pt") for rank in range(WORLD)]
    # Averaged over processes, as DDP does.
    for name, wanted in _values_and_gradients(slice(None)).items():
        pairs = zip(*(values[name] for values in found), strict=True)
        got = tuple(torch.stack(pair).mean(dim=0) for pair in pairs)
        torch.testing.assert_close(got, wanted, msg=lambda text, name=name: f"{name}: {text}")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    _process(int(sys.argv[1]), sys.argv[2])
