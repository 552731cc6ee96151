# SPDX-License-Identifier: MIT
"""Who has started this process and those beside it: torchrun, SLURM's ``srun``, or nobody."""

__all__ = ["check_alone", "check_processes"]

import os
from typing import NamedTuple

import torch.distributed as dist
from lightning.fabric.plugins.environments import SLURMEnvironment, TorchElasticEnvironment

from solo_plugins.args.hardware import Hardware
from solo_plugins.errors import ConfigurationError
from solo_plugins.training.signals import under_slurm
from solo_plugins.training.sweep import sweeping


class _Launch(NamedTuple):
    by: str
    processes: int
    nodes: int


def check_processes(hardware: Hardware) -> None:
    """Refuse a run that the processes which are there do not fit.

    Lightning would wait for those that nobody has started, let each of those that are too many
    train a run of its own, or train one process at the learning rate of two.

    Args:
        hardware: what was chosen, with a process for each device.

    Raises:
        ConfigurationError: if torchrun or SLURM started another number, if SLURM was asked in a way
            that Lightning does not understand, or if the runs of a sweep would have to start
            processes, which is done by repeating the command line, here that of the whole sweep.
    """
    found, asked = _launch(), hardware.processes
    if found is None or found.by == "SLURM":
        _check_slurm(found, asked, managed=under_slurm())
    if found is None:
        if asked > 1 and sweeping():
            raise ConfigurationError(
                "Expected `devices` to be 1 for each run of a sweep, or a sweep by "
                "`hydra/launcher=submitit_slurm` with `hydra.launcher.tasks_per_node` set to the "
                f"devices, but got {asked} processes."
            )
        return
    wanted = found.processes // found.nodes, found.nodes
    if (hardware.num_devices, hardware.num_nodes) != wanted:
        raise ConfigurationError(
            f"Expected `devices` and `num_nodes` to be {wanted[0]} and {wanted[1]}, as {found.by} "
            f"started {_processes(found.processes)}, but got {hardware.num_devices} and "
            f"{hardware.num_nodes}. "
            f"{hardware}"
        )


def check_alone(what: str, *, torchrun: bool = False) -> None:
    """Refuse to do the same in several processes at once, which would write the same files.

    A program that has joined its processes itself may let one of them go on alone.

    Args:
        what: what is done by one process.
        torchrun: whether several may do it if torchrun has started them.

    Raises:
        ConfigurationError: if torchrun or SLURM started several.
    """
    found = _launch()
    if found is None or found.processes == 1 or dist.is_initialized():
        return
    if not (torchrun and found.by == "torchrun"):
        others = ", or several that torchrun starts," if torchrun else ""
        raise ConfigurationError(
            f"Expected one process{others} for {what} but {found.by} started {found.processes}."
        )


def _launch() -> _Launch | None:
    if TorchElasticEnvironment.detect():
        processes = int(os.environ["WORLD_SIZE"])
        return _Launch("torchrun", processes, processes // int(os.environ["LOCAL_WORLD_SIZE"]))
    if "SLURM_STEP_ID" in os.environ:  # srun's, while a job's script has the other variables too
        tasks, nodes = (int(os.environ.get(f"SLURM_{name}", 1)) for name in ("NTASKS", "NNODES"))
        if tasks > 1 or under_slurm():  # else a shell, by `srun --pty bash`
            return _Launch("SLURM", tasks, nodes)
    return None


def _check_slurm(found: _Launch | None, asked: int, *, managed: bool) -> None:
    """Refuse what Lightning takes otherwise than SLURM meant it; `managed` is what it thinks."""
    if not managed:
        if found is not None and found.processes > 1:
            name = SLURMEnvironment.job_name()
            raise ConfigurationError(
                f"Expected a name for {found.processes} tasks by `srun --job-name=...` but got "
                f"{name!r}, which Lightning takes for a shell without tasks."
            )
        return
    tasks = int(os.environ["SLURM_NTASKS"])
    if tasks > 1 and "SLURM_NTASKS_PER_NODE" not in os.environ:
        raise ConfigurationError(
            "Expected `--ntasks-per-node` in the job's script, or `--cpus-per-task` for more cores "
            f"of one task, but got `--ntasks` alone ({tasks}), which Lightning does not take."
        )
    if found is None and asked > 1:
        raise ConfigurationError(
            f"Expected `srun` before the command, which starts all {asked} processes, but the "
            "job's script started this one itself, and Lightning would wait for the others."
        )


def _processes(number: int) -> str:
    return "1 process" if number == 1 else f"{number} processes"
