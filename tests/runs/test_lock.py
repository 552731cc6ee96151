# SPDX-License-Identifier: MIT
"""One process at a time: the living keep others out, the dead nobody."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from solo_plugins.errors import ConfigurationError
from solo_plugins.runs import lock as locks
from solo_plugins.runs.folder import RunState
from solo_plugins.runs.lock import HeldError, held

_HOLD = """
import sys, time
from pathlib import Path
from solo_plugins.runs.lock import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen]:
    """Yield another process that holds the lock."""
    command = [sys.executable, "-c", _HOLD, str(tmp_path / "lock")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_living_process_keeps_others_out_and_a_killed_one_does_not(
    holder: subprocess.Popen, tmp_path: Path
) -> None:
    with pytest.raises(HeldError), held(tmp_path / "lock"):
        pass
    holder.kill()
    holder.wait()
    with held(tmp_path / "lock"):
        pass


def test_who_waits_gets_the_lock_when_the_other_process_ends(
    holder: subprocess.Popen, tmp_path: Path
) -> None:
    got = threading.Event()

    def wait() -> None:
        with held(tmp_path / "lock", wait=True):
            got.set()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    assert not got.wait(0.3)
    holder.kill()
    assert got.wait(30)
    thread.join()


def test_a_process_refuses_itself_and_keeps_its_lock(tmp_path: Path) -> None:
    with held(tmp_path / "lock"):
        for _ in range(2):
            with pytest.raises(HeldError), held(tmp_path / "lock"):
                pass
        done = subprocess.run(
            [sys.executable, "-c", _HOLD, str(tmp_path / "lock")], capture_output=True, check=False
        )
        assert b"another process works in it" in done.stderr


@pytest.mark.parametrize("alive", [True, False])
def test_a_process_of_another_machine_counts_while_its_heart_beats(
    alive: bool, tmp_path: Path
) -> None:
    lock, done = tmp_path / "lock", threading.Event()
    lock.touch()
    # its clock may be years behind
    os.utime(lock, (1e9, 1e9))

    def beat() -> None:
        while not done.wait(0.05):
            os.utime(lock, (1e9, 1e9 + time.monotonic() % 1e6))

    thread = threading.Thread(target=beat)
    if alive:
        thread.start()
    try:
        if alive:
            with pytest.raises(HeldError), held(lock, may_live_elsewhere=True, interval=0.2):
                pass
        else:
            with held(lock, may_live_elsewhere=True, interval=0.05):
                pass
    finally:
        done.set()
        if alive:
            thread.join()


def test_a_system_without_locks_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(locks, "fcntl", None)
    with pytest.raises(ConfigurationError, match="Under Windows, use WSL"), held(tmp_path):
        pass


def test_a_held_lock_beats(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with held(lock, interval=0.05):
        before, end = lock.stat().st_mtime_ns, time.monotonic() + 30
        while lock.stat().st_mtime_ns == before and time.monotonic() < end:
            time.sleep(0.05)
        assert lock.stat().st_mtime_ns > before


@pytest.mark.parametrize(
    ("host", "job", "now", "may_live"),
    [
        ("elsewhere", "", {}, True),
        ("elsewhere", "7.0", {"SLURM_JOB_ID": "7", "SLURM_RESTART_COUNT": "1"}, False),
        ("elsewhere", "7.1", {"SLURM_JOB_ID": "7", "SLURM_RESTART_COUNT": "1"}, True),
        ("elsewhere", "7.0", {"SLURM_JOB_ID": "8"}, True),
        (RunState().host, "", {}, False),
    ],
    ids=["other", "requeued", "same-job", "other-job", "here"],
)
def test_a_requeued_job_has_no_living_self(
    host: str, job: str, now: dict, may_live: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SLURM_JOB_ID", "SLURM_RESTART_COUNT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in now.items():
        monkeypatch.setenv(name, value)
    assert RunState(host=host, job=job).may_live_elsewhere is may_live
    assert not RunState("interrupted", host=host, job=job).may_live_elsewhere


def _wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)


def test_whoever_waits_gets_the_lock_in_the_end(tmp_path: Path) -> None:
    got: list[int] = []

    def take(number: int) -> None:
        with held(tmp_path / "lock", wait=True):
            got.append(number)

    threads = [threading.Thread(target=take, args=(number,)) for number in range(4)]
    with held(tmp_path / "lock"):
        for thread in threads:
            thread.start()
        assert got == []
    _wait_for(lambda: len(got) == 4)
    assert sorted(got) == [0, 1, 2, 3]
