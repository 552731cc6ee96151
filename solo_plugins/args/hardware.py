# SPDX-License-Identifier: MIT
"""The accelerator, devices and precision that a configuration gets on this machine."""

__all__ = ["Hardware", "resolve"]

from typing import Any, NamedTuple

import torch
from omegaconf import DictConfig, ListConfig


class Hardware(NamedTuple):
    """The hardware that was chosen for a run.

    Args:
        accelerator: ``gpu`` or ``cpu``.
        devices: a number, or a list of GPUs.
        precision: Lightning's name of it.
        strategy: Lightning's name of it.
        sync_batchnorm: whether batch statistics are those of all processes.
        num_devices: processes on each machine.
        num_nodes: machines.
        note: why it differs from the configuration, or an empty string.
    """

    accelerator: str
    devices: int | list[int]
    precision: str
    strategy: str
    sync_batchnorm: bool
    num_devices: int
    num_nodes: int
    note: str

    @property
    def processes(self) -> int:
        """All processes, of all machines."""
        return self.num_devices * self.num_nodes

    def __str__(self) -> str:
        plural = "" if self.num_devices == 1 else "s"
        each = "" if self.num_nodes == 1 else f" on each of {self.num_nodes} machines"
        line = (
            f"Running on {self.accelerator}, {self.num_devices} device{plural}{each}, "
            f"precision {self.precision}"
        )
        return f"{line} ({self.note})." if self.note else f"{line}."


def resolve(cfg: DictConfig) -> Hardware:
    """Choose accelerator, devices, precision and strategy for this machine.

    Without CUDA, a GPU configuration runs in one process on the CPU, in float32 in place of
    float16, since Lightning refuses the GPU's settings there.

    Args:
        cfg: the configuration with defaults, which was checked.

    Returns:
        The choice, which prints as one line.
    """
    asked, devices, precision = cfg.accelerator, _plain(cfg.devices), str(cfg.precision)
    on_gpu = asked != "cpu" and torch.cuda.is_available()
    note = ""
    if not on_gpu and asked != "cpu":
        devices = 1
    if not on_gpu and precision in ("16", "16-mixed"):
        precision = "32-true"
        note = "float16 needs a GPU"
    if not on_gpu and asked in ("gpu", "cuda"):
        note = (
            f"asked for {asked}, devices {_plain(cfg.devices)}, precision {cfg.precision}, "
            "but there is no CUDA device"
        )
    devices, count = _count(devices, on_gpu=on_gpu)
    single = count * cfg.num_nodes == 1
    strategy = "auto" if single else (cfg.strategy or "ddp")
    return Hardware(
        accelerator="gpu" if on_gpu else "cpu",
        devices=devices,
        precision=precision,
        strategy=strategy,
        # torch's SyncBatchNorm has no CPU implementation.
        sync_batchnorm=bool(cfg.get("sync_batchnorm", False)) and on_gpu and not single,
        num_devices=count,
        num_nodes=cfg.num_nodes,
        note=note,
    )


def _plain(devices: Any) -> Any:
    return list(devices) if isinstance(devices, ListConfig) else devices


def _count(devices: Any, *, on_gpu: bool) -> tuple[int | list[int], int]:
    if isinstance(devices, list):
        return (devices if on_gpu else len(devices)), len(devices)
    if devices in ("auto", "-1", -1):
        devices = torch.cuda.device_count() if on_gpu else 1
    return int(devices), int(devices)
