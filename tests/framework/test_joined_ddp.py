# SPDX-License-Identifier: MIT
"""VICReg and SimCLR in two gloo processes with different images against one with all of them."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.distributed as dist
from omegaconf import OmegaConf
from torch import Tensor, nn

from solo_plugins.framework import release

WORLD, N, D = 2, 6, 4
_TEMPERATURE = {"temperature": 0.2}
# method, settings and number of small crops
CASES: dict[str, tuple[str, dict[str, Any], int]] = {
    "vicreg": ("vicreg", {}, 0),
    "simclr": ("simclr", _TEMPERATURE, 0),
    # main has a method of its own for it
    "supervised": ("supcon", _TEMPERATURE, 0)
    if release() == "main"
    else ("simclr", {**_TEMPERATURE, "supervised": True}, 0),
    "small-crops": ("simclr", _TEMPERATURE, 1),
}


def _step(given: dict[str, Any], share: slice) -> tuple[Tensor, Tensor]:
    """Return loss and gradient of a step without BatchNorm, whose statistics are each process's."""
    from solo_plugins.args.pretrain import parse_cfg
    from solo_plugins.framework import METHODS

    cfg, _ = parse_cfg(OmegaConf.create(given))
    torch.manual_seed(0)
    model: Any = METHODS[cfg.method](cfg)
    model.backbone = nn.Sequential(nn.Flatten(), nn.Linear(12, model.features_dim))
    model.projector = nn.Linear(model.features_dim, D)
    model.log = model.log_dict = lambda *_, **__: None  # Lightning logs within a Trainer only
    crops = torch.randn(model.num_crops, WORLD * N, 3, 2, 2)
    targets = torch.arange(WORLD * N) % 3
    batch = (torch.arange(WORLD * N)[share], list(crops[:, share]), targets[share])
    loss = model.training_step(batch, 0)
    (gradient,) = torch.autograd.grad(loss, model.backbone[1].weight)
    return loss.detach(), gradient


def _process(configurations: dict[str, dict[str, Any]]) -> dict[str, tuple[Tensor, Tensor]]:
    from solo_plugins import register

    register()
    share = slice(dist.get_rank() * N, (dist.get_rank() + 1) * N)
    return {name: _step(given, share) for name, given in configurations.items()}


@pytest.fixture(scope="module")
def configurations(
    cfg_below: Callable, augmentation: Callable, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, Any]]:
    """Return the configuration of each case, in plain values."""

    def make(method: str, kwargs: dict[str, Any], small: int) -> Any:
        crops = [augmentation(num_crops=2)]
        crops += [augmentation(num_crops=small, crop_size=16)] if small else []
        widths = {"proj_hidden_dim": 8, "proj_output_dim": D}
        changes = {"method_kwargs": widths | kwargs, "augmentations": crops}
        changes["knn_eval__enabled"] = False
        cfg = cfg_below(tmp_path_factory.mktemp("joined"), method, **changes)
        return OmegaConf.to_container(cfg)

    return {name: make(*case) for name, case in CASES.items()}


@pytest.fixture(scope="module")
def ranks(
    gloo: Callable, configurations: dict[str, dict[str, Any]]
) -> list[dict[str, tuple[Tensor, Tensor]]]:
    return gloo(_process, configurations, world_size=WORLD)


@pytest.mark.ddp
@pytest.mark.usefixtures("methods")
@pytest.mark.parametrize("name", CASES)
def test_a_step_of_two_processes_is_that_of_the_joined_batch(
    name: str, configurations: dict, ranks: list[dict[str, tuple[Tensor, Tensor]]]
) -> None:
    # averaged over processes, as DDP does
    pairs = zip(*(steps[name] for steps in ranks), strict=True)
    got = tuple(torch.stack(pair).mean(dim=0) for pair in pairs)
    torch.testing.assert_close(got, _step(configurations[name], slice(None)))
