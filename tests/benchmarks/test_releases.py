# SPDX-License-Identifier: MIT
"""VICReg and BYOL by our program: the PyPI release's losses are those of main."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from solo_plugins.framework import release


def _run(root: Path, main: Path) -> subprocess.CompletedProcess:
    small = ["++backbone.kwargs.channels=[8,8,8,8]", "++limit_val_batches=1"]
    run = [
        str(root / "benchmarks" / "releases.py"),
        "--main",
        str(main),
        "--epochs",
        "2",
        "--batches",
        "2",
    ]
    return subprocess.run(
        [sys.executable, *run, "--overrides", *small],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.skipif(release() != "main", reason="needs a clone of solo-learn's main branch")
def test_losses_on_both_releases_are_the_same(root: Path) -> None:
    spec = importlib.util.find_spec("solo")
    assert spec is not None
    assert spec.submodule_search_locations
    done = _run(root, Path(spec.submodule_search_locations[0]).parent)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])["max_relative_difference"]
    # The same operations in the same order; float32 sums may be split otherwise.
    assert {"vicreg", "byol"} == set(figures)
    assert max(value for losses in figures.values() for value in losses.values()) < 1e-5


def test_a_folder_that_is_no_clone_of_main_is_refused(root: Path, tmp_path: Path) -> None:
    done = _run(root, tmp_path)
    assert done.returncode == 1
    assert "Expected --main to be a clone of solo-learn's main branch but got" in done.stderr
