# SPDX-License-Identifier: MIT
"""The benchmark of several processes, whose model starts from one process."""

import json
from collections.abc import Callable

TINY = ["--batch", "8", "--dim", "4", "--projections", "16", "--repeats", "1"]


def test_the_benchmark_ends_with_its_figures(benchmark: Callable) -> None:
    run = benchmark("processes", "--processes", "1", "2", *TINY)
    assert run.returncode == 0, run.stderr
    rows = json.loads(run.stdout.splitlines()[-1])["rows"]
    found = [(row["batch_of"], row["processes"], row["samples"]) for row in rows]
    assert found == [("each", 1, 8), ("each", 2, 8), ("all", 1, 8), ("all", 2, 4)]
    assert all(row["cpu_ms"] == row["model_ms"] for row in rows if row["processes"] == 1)
