# SPDX-License-Identifier: MIT
"""VICReg and SimCLR in two gloo processes with different images against one with all of them."""

import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from omegaconf import OmegaConf
from torch import Tensor, nn

WORLD, N, D = 2, 6, 4
_TEMPERATURE = {"temperature": 0.2}
# method, settings and number of small crops
CASES: dict[str, tuple[str, dict[str, Any], int]] = {
    "vicreg": ("vicreg", {}, 0),
    "simclr": ("simclr", _TEMPERATURE, 0),
    "supervised": ("simclr", {**_TEMPERATURE, "supervised": True}, 0),
    "small-crops": ("simclr", _TEMPERATURE, 1),
}


def _step(path: Path, share: slice) -> tuple[Tensor, Tensor]:
    """Return loss and gradient of a step without BatchNorm, whose statistics are each process's."""
    from solo_plugins import register
    from solo_plugins.framework import METHODS

    register()
    cfg: Any = OmegaConf.load(path)
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


def _process(rank: int, folder: Path) -> None:
    method = f"file://{folder}/init"
    dist.init_process_group("gloo", init_method=method, rank=rank, world_size=WORLD)
    torch.set_num_threads(1)
    share = slice(rank * N, (rank + 1) * N)
    found = {path.stem: _step(path, share) for path in sorted(folder.glob("*.yaml"))}
    torch.save(found, folder / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.ddp
@pytest.mark.usefixtures("methods")
def test_a_step_of_two_processes_is_that_of_the_joined_batch(
    make_cfg: Callable, augmentation: Callable, tmp_path: Path
) -> None:
    from solo_plugins.args.pretrain import parse_cfg

    for name, (method, kwargs, small) in CASES.items():
        crops = [augmentation(num_crops=2)]
        crops += [augmentation(num_crops=small, crop_size=16)] if small else []
        widths = {"proj_hidden_dim": 8, "proj_output_dim": D}
        cfg, _ = parse_cfg(make_cfg(method, method_kwargs=widths | kwargs, augmentations=crops))
        cfg.knn_eval.enabled = False
        OmegaConf.save(cfg, tmp_path / f"{name}.yaml")
    ranks = [
        subprocess.Popen([sys.executable, "-W", "ignore", __file__, str(rank), str(tmp_path)])
        for rank in range(WORLD)
    ]
    assert [rank.wait(timeout=120) for rank in ranks] == [0] * WORLD
    found = [torch.load(tmp_path / f"{rank}.pt") for rank in range(WORLD)]
    for name in CASES:
        # Averaged over processes, as DDP does.
        pairs = zip(*(steps[name] for steps in found), strict=True)
        got = tuple(torch.stack(pair).mean(dim=0) for pair in pairs)
        wanted = _step(tmp_path / f"{name}.yaml", slice(None))
        torch.testing.assert_close(got, wanted, msg=lambda text, name=name: f"{name}: {text}")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    _process(int(sys.argv[1]), Path(sys.argv[2]))
