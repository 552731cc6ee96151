# SPDX-License-Identifier: MIT
"""What a run goes on: what was asked for where it is there, else the CPU, which is said."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from solo_plugins.args.hardware import resolve
from solo_plugins.args.pretrain import parse_cfg

Make = Callable[..., DictConfig]
pytestmark = pytest.mark.usefixtures("methods")


@pytest.mark.parametrize("precision", [16, "16-mixed"])
def test_a_gpu_configuration_runs_on_the_cpu_and_says_so(
    precision: Any, make_cfg: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    gpu = {"accelerator": "gpu", "devices": [0, 1], "strategy": "ddp", "sync_batchnorm": True}
    cfg, hardware = parse_cfg(make_cfg(precision=precision, **gpu))
    assert (cfg.accelerator, cfg.devices, cfg.precision) == ("cpu", 1, "32-true")
    assert (hardware.strategy, hardware.sync_batchnorm) == ("auto", False)
    line = str(hardware)
    assert line.startswith("Running on cpu, 1 device, precision 32-true (asked for gpu, devices [0")
    assert "no CUDA device" in line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("asked", "num_devices", "strategy"),
    [([0], 1, "auto"), ([0, 1], 2, "ddp"), (2, 2, "ddp"), ("auto", 4, "ddp"), (-1, 4, "ddp")],
    ids=str,
)
def test_devices_of_a_gpu_machine(
    asked: Any, num_devices: int, strategy: str, make_cfg: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    cfg = make_cfg(accelerator="gpu", devices=asked, precision="16-mixed", sync_batchnorm=True)
    cfg = OmegaConf.merge({"num_nodes": 1, "strategy": "ddp"}, cfg)
    hardware = resolve(cfg)
    assert (hardware.num_devices, hardware.strategy) == (num_devices, strategy)
    assert (hardware.precision, hardware.note) == ("16-mixed", "")
    assert hardware.sync_batchnorm is (num_devices > 1)


def test_several_machines_are_said(make_cfg: Make) -> None:
    asked = make_cfg(accelerator="cpu", devices=2, num_nodes=3, precision="32-true")
    hardware = resolve(OmegaConf.merge({"strategy": None}, asked))
    assert hardware.processes == 6
    assert str(hardware).startswith("Running on cpu, 2 devices on each of 3 machines, precision")
