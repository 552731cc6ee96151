# SPDX-License-Identifier: MIT
"""The benchmark's last line is what other programs read."""

import json
from collections.abc import Callable

TINY = ["--batch", "8", "--dim", "4", "--projections", "16", "--repeats", "1", "--threads", "1"]


def test_the_benchmark_ends_with_its_figures(benchmark: Callable) -> None:
    run = benchmark("rdmreg", *TINY)
    assert run.returncode == 0, run.stderr
    figures = json.loads(run.stdout.splitlines()[-1])
    assert {"speedup", "memory_ratio", "seconds", "peak_extra_mb"} <= figures.keys()
    assert {"torch", "device", "threads", "load"} <= figures.keys()
    assert (figures["batch"], figures["dim"], figures["projections"]) == (8, 4, 16)
