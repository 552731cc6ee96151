# SPDX-License-Identifier: MIT
"""Ctrl-C while a program starts: one line, where half an import would be a traceback of pages."""

__all__ = ["answered_by_the_program", "leaving_at_once"]

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def leaving_at_once() -> Iterator[None]:
    """End the process at SIGINT with one line and status 130, until the program answers itself.

    A program whose SIGINT is ignored, as that of a job in the background, ignores it.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is _leave:
            signal.signal(signal.SIGINT, before)


def answered_by_the_program() -> None:
    """Let SIGINT be a KeyboardInterrupt from now on."""
    if signal.getsignal(signal.SIGINT) is _leave:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _leave(number: int, frame: FrameType | None) -> None:
    print("Interrupted: nothing was begun.", file=sys.stderr, flush=True)
    os._exit(128 + number)
