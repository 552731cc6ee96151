# SPDX-License-Identifier: MIT
"""The benchmark's last line is what other programs read."""

import json
from collections.abc import Callable

import pytest


def test_the_benchmark_ends_with_its_figures(benchmark: Callable) -> None:
    pytest.importorskip("nvidia.dali")
    run = benchmark("augmentation", "--images", "32", "--batch", "16", "--repeats", "1")
    assert run.returncode == 0, run.stderr
    figures = json.loads(run.stdout.splitlines()[-1])
    assert {"speedup", "speedup_per_cpu_second", "load", "solo_learn", "torch"} <= figures.keys()
    for rates in (figures["views_per_second"], figures["views_per_cpu_second"]):
        assert rates.keys() == {"torchvision", "dali"}
        assert min(rates.values()) > 0
