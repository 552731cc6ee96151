# SPDX-License-Identifier: MIT
"""The benchmarks as programs."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def benchmark(
    root: Path, run_program: Callable[..., subprocess.CompletedProcess]
) -> Callable[..., subprocess.CompletedProcess]:
    """Return a function that runs a benchmark by its name, with a command line."""
    return lambda name, *args: run_program(str(root / "benchmarks" / f"{name}.py"), *args)
