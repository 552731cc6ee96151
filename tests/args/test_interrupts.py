# SPDX-License-Identifier: MIT
"""Ctrl-C while a program starts, in processes of their own."""

import subprocess
import sys

import pytest

_START = """
import os, signal
from solo_plugins.args.interrupts import answered_by_the_program, leaving_at_once
# a shell's background job, as these tests may be one, has it ignored
signal.signal(signal.SIGINT, signal.default_int_handler)
"""


def _run(code: str) -> subprocess.CompletedProcess:
    start = [sys.executable, "-c", _START + code]
    return subprocess.run(start, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("inside", "status", "said"),
    [
        ("os.kill(os.getpid(), signal.SIGINT)", 130, "Interrupted: nothing was begun.\n"),
        (
            "try:\n    os.kill(os.getpid(), signal.SIGINT)\n  except BaseException:\n    pass",
            130,
            "Interrupted: nothing was begun.\n",
        ),
        (
            "answered_by_the_program()\n"
            "  try:\n    os.kill(os.getpid(), signal.SIGINT)\n"
            "  except KeyboardInterrupt:\n    raise SystemExit('answered')",
            1,
            "answered\n",
        ),
    ],
    ids=["starting", "within an import that catches all", "answered"],
)
def test_an_interrupt_while_a_program_starts_is_one_line(
    inside: str, status: int, said: str
) -> None:
    done = _run(f"with leaving_at_once():\n  {inside}\n")
    assert (done.returncode, done.stderr) == (status, said)


def test_the_handler_is_put_back_and_one_that_ignores_stays() -> None:
    done = _run(
        "with leaving_at_once():\n  pass\n"
        "assert signal.getsignal(signal.SIGINT) is signal.default_int_handler\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "with leaving_at_once():\n  os.kill(os.getpid(), signal.SIGINT)\n"
        "print('alive')\n"
    )
    assert (done.returncode, done.stdout) == (0, "alive\n")
