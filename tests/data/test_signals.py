# SPDX-License-Identifier: MIT
"""Loading processes leave signals to the process that trains, from their first moment on."""

import os
import signal
import time
from typing import Any

import pytest
import torch
from torch.utils.data import Dataset

from solo_plugins.data import loader
from solo_plugins.data.loader import QuietLoader

_SENT = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2]


class _Numbers(Dataset):
    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> int:
        return index


@pytest.fixture
def slow_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a loading process take its time before it decides what to do with signals."""
    ignore = loader._ignore_signals

    def later(worker: int) -> None:
        time.sleep(0.3)
        ignore(worker)

    monkeypatch.setattr(loader, "_ignore_signals", later)


def _send_from_another(process: int, number: int) -> None:
    sender = os.fork()
    if not sender:
        os.kill(process, number)
        os._exit(0)
    os.waitpid(sender, 0)


@pytest.mark.parametrize("number", _SENT, ids=lambda number: signal.Signals(number).name)
@pytest.mark.usefixtures("slow_start")
def test_a_signal_at_the_start_of_a_loading_process_does_not_end_it(number: int) -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    batches: Any = iter(QuietLoader(_Numbers(), batch_size=2, num_workers=1))
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before
    (worker,) = batches._workers
    _send_from_another(worker.pid, number)
    assert torch.cat(list(batches)).tolist() == [0, 1, 2, 3]


def test_the_process_that_trains_ends_its_loading_processes() -> None:
    batches: Any = iter(QuietLoader(_Numbers(), batch_size=2, num_workers=1))
    (worker,) = batches._workers
    assert next(batches).tolist() == [0, 1]
    worker.terminate()
    worker.join(20)
    assert worker.exitcode == 0
