# SPDX-License-Identifier: MIT
"""Signals that ask a run to stop: it does so between two steps, and says how to go on."""

__all__ = ["Interrupted", "Signals", "ends_a_job", "requeue", "under_slurm"]

import os
import signal
import subprocess
import threading
import warnings
from types import FrameType
from typing import Any

from lightning.pytorch.plugins.environments import SLURMEnvironment
from typing_extensions import Self


class Interrupted(SystemExit):
    """The program ends because of a signal, with status 128 + signal.

    Args:
        number: the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.signal = signal.Signals(number)

    def __str__(self) -> str:
        return self.signal.name


class Signals:
    """Handlers of SIGTERM, SIGINT and SIGHUP, and of those that announce a SLURM job's end.

    While steps are made the first signal is kept for the end of the step, and a second one ends the
    program at once; before that the first one does. A signal that is ignored, as SIGHUP under
    ``nohup``, stays so. To be used as a context, which puts the handlers back.
    """

    def __init__(self) -> None:
        self.received = 0
        self.between_steps = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self.install()
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def install(self) -> None:
        """Put the handlers in place, also of those that Lightning has put there."""
        if threading.current_thread() is not threading.main_thread():
            return  # Python allows it there only
        asks = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]
        for number in [*asks, *filter(ends_a_job, (signal.SIGUSR1, signal.SIGUSR2))]:
            before = signal.getsignal(number)
            if before != signal.SIG_IGN:
                self._before.setdefault(number, before)
                signal.signal(number, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if not self.between_steps or (self.received and not _in_destructor(frame)):
            raise Interrupted(number)
        self.received = number


def _in_destructor(frame: FrameType | None) -> bool:
    """Whether Python would print an exception that is raised now, and go on."""
    while frame is not None:
        if frame.f_code.co_name == "__del__":
            return True
        frame = frame.f_back
    return False


def ends_a_job(number: int) -> bool:
    """Tell whether a signal announces the end of a SLURM job, which is to be run again.

    Args:
        number: the signal.

    Returns:
        True for SIGUSR1 in a job, and for the signal that submitit asks for in one of its own, by
        default SIGUSR2. Its own handler would end the job within a step.
    """
    ours = under_slurm() and number == signal.SIGUSR1
    name = f"SIG{os.environ.get('SUBMITIT_PREEMPT_SIGNAL', 'USR2')}"
    submitits = os.environ.get("SUBMITIT_EXECUTOR") == "slurm"
    return ours or (submitits and signal.Signals(number).name == name)


def under_slurm() -> bool:
    """Tell whether SLURM starts the processes of a run, as Lightning sees it.

    Returns:
        False for a shell in an allocation, and for a job's script that asked for no tasks.
    """
    with warnings.catch_warnings():
        # An `srun` that is there need not be used; where it must be, launch.py says so.
        warnings.filterwarnings("ignore", message="The `srun` command is available")
        return SLURMEnvironment.detect()


def requeue() -> str:
    """Ask SLURM to run this job again.

    Returns:
        What came of it, as a sentence.
    """
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    task = os.environ.get("SLURM_ARRAY_TASK_ID", "")
    job = f"{array}_{task}" if array else os.environ["SLURM_JOB_ID"]
    try:
        done = subprocess.run(
            ["scontrol", "requeue", job], capture_output=True, text=True, check=False
        )
    except OSError as error:
        return f"SLURM could not be asked to run job {job} again: {error}."
    if done.returncode:
        return f"SLURM refused to run job {job} again: {done.stderr.strip()}"
    return f"SLURM runs job {job} again."
