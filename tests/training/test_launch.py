# SPDX-License-Identifier: MIT
"""Processes that torchrun or SLURM started: as many as the run takes, or one line.

The variables are those of SLURM 22.05 and of torchrun, read off jobs of two tasks on one machine.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch.distributed as dist
from omegaconf import DictConfig

from solo_plugins.args.hardware import Hardware
from solo_plugins.errors import ConfigurationError
from solo_plugins.evaluation.knn import knn
from solo_plugins.inference.embed import embed
from solo_plugins.inference.transfer import transfer
from solo_plugins.training import launch
from solo_plugins.training.launch import check_alone, check_processes
from solo_plugins.training.pretrain import pretrain

# of the script of a job with `#SBATCH --ntasks-per-node=2`, and of a task that its `srun` starts
_SCRIPT = {"SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "train", "SLURM_PROCID": "0", "SLURM_NNODES": "1"}
_TASKS = _SCRIPT | {"SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2"}
_STEP = _TASKS | {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2"}
_TORCHRUN = {"TORCHELASTIC_RUN_ID": "a", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
_NODES = {"SLURM_NTASKS": "4", "SLURM_NNODES": "2"}


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, str]], None]:
    """Return a function that sets what the program that starts a process tells it."""

    def start(variables: dict[str, str]) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return start


def _hardware(devices: int, nodes: int = 1, note: str = "") -> Hardware:
    return Hardware("cpu", devices, "32-true", "auto", False, devices, nodes, note)


@pytest.mark.parametrize(
    ("variables", "devices", "nodes"),
    [
        ({}, 1, 1),
        ({}, 2, 1),  # Lightning starts the second
        (_SCRIPT, 2, 1),  # as there: SLURM was asked for no tasks
        (_TASKS, 1, 1),  # two tasks may be for something else
        (_SCRIPT | {"SLURM_NTASKS": "1"}, 1, 1),
        (_STEP, 2, 1),
        (_STEP | {"SLURM_NTASKS": "1"}, 1, 1),
        (_STEP | _NODES, 2, 2),
        (_SCRIPT | {"SLURM_STEP_ID": "0", "SLURM_NTASKS": "1", "SLURM_JOB_NAME": "bash"}, 2, 1),
        (_TORCHRUN, 2, 1),
        (_TORCHRUN | {"WORLD_SIZE": "4"}, 2, 2),
        (_TORCHRUN | _STEP | {"SLURM_NTASKS": "1"}, 2, 1),  # `srun torchrun`
        (_TORCHRUN | _SCRIPT | {"SLURM_NTASKS": "2"}, 2, 1),
    ],
)
def test_processes_that_are_there_or_will_be_are_taken(
    variables: dict[str, str], devices: int, nodes: int, started: Callable
) -> None:
    started(variables)
    check_processes(_hardware(devices, nodes))


@pytest.mark.parametrize(
    ("variables", "devices", "nodes", "says"),
    [
        (_STEP, 1, 1, "to be 2 and 1, as SLURM started 2 processes, but got 1 and 1"),
        (_STEP, 4, 1, "to be 2 and 1, as SLURM started 2 processes, but got 4 and 1"),
        (_STEP | {"SLURM_NTASKS": "1"}, 2, 1, "SLURM started 1 process, but got 2 and 1"),
        (_STEP | _NODES, 4, 1, "to be 2 and 2, as SLURM started 4 processes, but got 4 and 1"),
        (_TORCHRUN, 1, 1, "to be 2 and 1, as torchrun started 2 processes, but got 1 and 1"),
        (_TORCHRUN | {"WORLD_SIZE": "4"}, 4, 1, "to be 2 and 2, as torchrun started 4"),
        (_TORCHRUN | _STEP, 1, 1, "torchrun started 2"),
        (_TASKS, 2, 1, "`srun` before the command, which starts all 2 processes"),
        (_SCRIPT | {"SLURM_NTASKS": "1"}, 2, 1, "`srun` before the command"),
        (_SCRIPT | {"SLURM_NTASKS": "8"}, 1, 1, r"`--cpus-per-task` .* `--ntasks` alone \(8\)"),
        (_SCRIPT | {"SLURM_NTASKS": "2", "SLURM_STEP_ID": "0"}, 2, 1, "`--ntasks-per-node`"),
        (_STEP | {"SLURM_JOB_NAME": "interactive"}, 2, 1, "--job-name=.* got 'interactive'"),
        (_STEP | {"SLURM_JOB_NAME": "bash"}, 1, 1, "--job-name=.* but got 'bash'"),
    ],
)
def test_other_processes_than_the_run_takes_are_one_line(
    variables: dict[str, str], devices: int, nodes: int, says: str, started: Callable
) -> None:
    started(variables)
    with pytest.raises(ConfigurationError, match=says) as error:
        check_processes(_hardware(devices, nodes))
    assert "\n" not in str(error.value)


def test_a_run_that_fell_back_to_the_cpu_says_so_beside(started: Callable) -> None:
    started(_STEP)
    with pytest.raises(ConfigurationError, match=r"got 1 and 1\. Running on cpu.*no CUDA device"):
        check_processes(_hardware(1, note="asked for gpu, devices 2, but there is no CUDA device"))


def test_the_runs_of_a_sweep_start_no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "sweeping", lambda: True)
    check_processes(_hardware(1))
    with pytest.raises(ConfigurationError, match=r"`devices` to be 1 .* but got 2 processes"):
        check_processes(_hardware(2))
    with pytest.raises(ConfigurationError, match=r"`devices` to be 1 .* but got 3 processes"):
        check_processes(_hardware(1, 3))
    for name, value in _STEP.items():
        monkeypatch.setenv(name, value)
    check_processes(_hardware(2))  # submitit's jobs


@pytest.mark.parametrize(
    ("variables", "torchrun", "refused"),
    [
        ({}, False, None),
        (_TASKS, False, None),
        (_STEP | {"SLURM_NTASKS": "1"}, False, None),
        (_STEP, False, "SLURM started 2"),
        (_STEP, True, "or several that torchrun starts, for it but SLURM started 2"),
        (_TORCHRUN, False, "one process for it but torchrun started 2"),
        (_TORCHRUN, True, None),
    ],
)
def test_what_one_process_does_is_refused_to_several(
    variables: dict[str, str], torchrun: bool, refused: str | None, started: Callable
) -> None:
    started(variables)
    if refused is None:
        check_alone("it", torchrun=torchrun)
        return
    with pytest.raises(ConfigurationError, match=refused):
        check_alone("it", torchrun=torchrun)


def test_a_program_with_a_group_of_its_own_may_let_one_go_on(
    started: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    started(_TORCHRUN)
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    check_alone("it")


@pytest.mark.usefixtures("methods")
def test_nothing_is_written_by_processes_that_do_not_fit(
    make_cfg: Callable[..., DictConfig], started: Callable, tmp_path: Path
) -> None:
    started(_STEP)
    cfg = make_cfg()
    with pytest.raises(ConfigurationError, match="SLURM started 2"):
        pretrain(cfg)
    with pytest.raises(ConfigurationError, match="SLURM started 2"):
        knn(cfg)
    for asks in (lambda: embed("run", tmp_path / "out"), lambda: transfer("run")):
        with pytest.raises(ConfigurationError, match="SLURM started 2"):
            asks()
    assert not list(tmp_path.iterdir())
