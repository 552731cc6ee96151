# SPDX-License-Identifier: MIT
"""The benchmark's last line is what other programs read."""

import json
import subprocess
import sys
from pathlib import Path

BENCHMARK = Path(__file__).resolve().parents[2] / "benchmarks" / "rdmreg.py"
TINY = ["--batch", "8", "--dim", "4", "--projections", "16", "--repeats", "1", "--threads", "1"]


def test_the_benchmark_ends_with_its_figures() -> None:
    run = subprocess.run(
        [sys.executable, str(BENCHMARK), *TINY], check=True, capture_output=True, text=True
    )
    figures = json.loads(run.stdout.splitlines()[-1])
    assert {"speedup", "memory_ratio", "seconds", "peak_extra_mb"} <= figures.keys()
    assert {"torch", "device", "threads", "load"} <= figures.keys()
    assert (figures["batch"], figures["dim"], figures["projections"]) == (8, 4, 16)
