# SPDX-License-Identifier: MIT
"""Two gloo processes with different data against one process with the joined batch."""

from collections.abc import Callable

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from solo_plugins.framework import simclr_loss, vicreg_loss
from solo_plugins.losses import SIGReg
from solo_plugins.methods.visreg import VISRegSettings, visreg_loss

WORLD, N, D = 2, 12, 4


def _visreg(*views: Tensor) -> Tensor:
    loss = visreg_loss(VISRegSettings(proj_hidden_dim=1, proj_output_dim=D, num_projections=16))
    with torch.random.fork_rng():
        torch.manual_seed(2)
        return loss(local_proj=torch.stack(views)[:0], global_proj=torch.stack(views))


LOSSES = {
    "sigreg": lambda *views: SIGReg(6)(list(views), generator=torch.Generator().manual_seed(2)),
    "simclr": lambda *views: simclr_loss(*views, temperature=0.2),
    "vicreg": vicreg_loss,
    "visreg": _visreg,
}


def _step(name: str, share: slice) -> tuple[Tensor, Tensor]:
    """Return loss and gradient of a linear model on a share of the batch."""
    torch.manual_seed(0)
    model, batch = nn.Linear(3, D), torch.randn(2, WORLD * N, 3)
    loss = LOSSES[name](*(model(view) for view in batch[:, share]))
    (gradient,) = torch.autograd.grad(loss, model.weight)
    return loss.detach(), gradient


def _process() -> dict[str, tuple[Tensor, Tensor]]:
    share = slice(dist.get_rank() * N, (dist.get_rank() + 1) * N)
    return {name: _step(name, share) for name in LOSSES}


@pytest.fixture(scope="module")
def ranks(gloo: Callable) -> list[dict[str, tuple[Tensor, Tensor]]]:
    return gloo(_process, world_size=WORLD)


@pytest.mark.ddp
@pytest.mark.parametrize("name", LOSSES)
def test_losses_of_two_processes_are_those_of_the_joined_batch(
    name: str, ranks: list[dict[str, tuple[Tensor, Tensor]]]
) -> None:
    # averaged over processes, as DDP does
    pairs = zip(*(values[name] for values in ranks), strict=True)
    got = tuple(torch.stack(pair).mean(dim=0) for pair in pairs)
    torch.testing.assert_close(got, _step(name, slice(None)))
