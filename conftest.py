# SPDX-License-Identifier: MIT
"""Doctests: the half of the framework room that needs the other release is left out.

And the process that forks the tests' programs, one for all of pytest-xdist's workers.
"""

import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

FRAMEWORK = Path(__file__).parent / "solo_plugins" / "framework"


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out what the other release needs, which is known after an import of ten seconds."""
    if collection_path not in (FRAMEWORK / "main", FRAMEWORK / "pypi"):
        return None
    from solo_plugins.framework import release

    return collection_path.name != release() or None


def pytest_configure(config: pytest.Config) -> None:
    """Start tests/programs.py, which imports nothing before it is asked for a program."""
    if hasattr(config, "workerinput"):
        return
    for name in [name for name in os.environ if name.startswith("SLURM_")]:
        del os.environ[name]  # a job that runs the tests is none of the jobs that they start
    folder = tempfile.TemporaryDirectory(prefix="programs-")
    config.add_cleanup(folder.cleanup)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        path = os.environ["SOLO_PLUGINS_PROGRAMS"] = f"{folder.name}/socket"
        listener.bind(path)
        listener.listen()
        file, number = Path(__file__).parent / "tests" / "programs.py", listener.fileno()
        server = subprocess.Popen(
            [sys.executable, str(file), str(number)],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, pass_fds=[number],
            start_new_session=True,
        )  # fmt: skip
    config.add_cleanup(server.communicate)
