# SPDX-License-Identifier: MIT
"""Ending all processes of a run when one of them cannot go on."""

__all__ = ["end_peers"]

import subprocess
import time
from collections.abc import Sequence
from typing import Any

# Long enough for a process that has failed to say why and to end.
_SECONDS = 20.0


def end_peers(trainer: Any, error: BaseException) -> None:
    """End the processes that Lightning started, so that none waits for one that has failed.

    In any process but the one that started the others nothing is done. Lightning itself leaves
    peers waiting for a lost one until their connection's timeout, half an hour, or kills the whole
    program, which then has no status of its own.

    Args:
        trainer: Lightning's trainer.
        error: what ended this process's training.

    Raises:
        SystemExit: with status 1, if it was another process that failed, which has said why.
    """
    launcher: Any = getattr(trainer.strategy, "launcher", None)
    peers: list[subprocess.Popen] = list(getattr(launcher, "procs", ()))
    if not peers:
        return
    # Lightning's watcher goes by this list, and would kill this process as well
    launcher.procs.clear()
    # a connection that a peer has left is a RuntimeError, by gloo as by NCCL
    failed = isinstance(error, RuntimeError) and _one_fails(peers)
    for peer in peers:
        peer.kill()
        peer.wait()
    if failed:
        raise SystemExit(1) from error


def _one_fails(peers: Sequence[subprocess.Popen]) -> bool:
    end = time.monotonic() + _SECONDS
    while time.monotonic() < end:
        if any(peer.poll() for peer in peers):
            return True
        time.sleep(0.1)
    return False
