# SPDX-License-Identifier: MIT
"""The long forms of docs/reliability.md: kills at every write, random kills, full disks.

They start the program some fifty times and are run by ``make torture`` alone.
"""

import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from solo_plugins.runs.folder import RunFolder

pytestmark = pytest.mark.torture

# Runs main_pretrain.py and kills it before its n-th write below a folder: opening a file to write,
# renaming, removing and making folders are what Python's audit events show.
_KILLER = """
import os, runpy, signal, sys
root, n = sys.argv.pop(1), int(sys.argv.pop(1))
seen = 0
def hook(event, arguments):
    global seen
    if event not in ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir"):
        return
    path, mode = str(arguments[0]), arguments[1] if len(arguments) > 1 else ""
    reads = event == "open" and not any(c in str(mode or "w") for c in "wax+")
    if path.startswith(root) and not reads:
        seen += 1
        if seen == n:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(hook)
sys.argv[0] = "main_pretrain.py"
try:
    runpy.run_path("main_pretrain.py", run_name="__main__")
finally:
    print("writes:", seen)
"""
_SEED = 0
_LATEST = 60


@pytest.fixture(scope="module")
def run_below(cfg_below: Callable[..., DictConfig], root: Path) -> Callable:
    """Return a function that runs the program on a folder, and of its command."""

    def command(folder: Path, *, killed_at: int | None = None) -> list[str]:
        cfg = cfg_below(
            folder, auto_resume__enabled=True, max_epochs=3, limit_train_batches=4,
            checkpoint__every_n_steps=3, knn_eval={"enabled": True, "k": 3},
        )  # fmt: skip
        folder.mkdir(exist_ok=True)
        OmegaConf.save(cfg, folder / "cfg.yaml")
        given = ["--config-path", str(folder), "--config-name", "cfg", "hydra.output_subdir=null"]
        if killed_at is None:
            return [sys.executable, "-W", "ignore", "main_pretrain.py", *given]
        runs = str(folder / "runs")
        return [sys.executable, "-W", "ignore", "-c", _KILLER, runs, str(killed_at), *given]

    return command


def _run(command: list[str], root: Path, **options: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        command, cwd=root, capture_output=True, text=True, check=False, timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"}, **options,
    )  # fmt: skip


def _result(folder: Path) -> tuple[dict[str, torch.Tensor], pd.DataFrame]:
    (run,) = [run for run in RunFolder.below(folder / "runs") if run.finished]
    weights = torch.load(run.last_checkpoint, weights_only=True)["state_dict"]
    return weights, pd.read_csv(run.log_path)


@pytest.fixture(scope="module")
def whole(run_below: Callable, root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple:
    """Return weights and log of a run that nothing interrupts."""
    folder = tmp_path_factory.mktemp("whole")
    done = _run(run_below(folder), root)
    assert done.returncode == 0, done.stderr
    return _result(folder)


def _check(folder: Path, whole: tuple) -> None:
    weights, log = _result(folder)
    assert all(torch.equal(value, weights[name]) for name, value in whole[0].items())
    pd.testing.assert_frame_equal(log, whole[1])


@pytest.mark.parametrize("n", range(1, _LATEST, 2))
def test_a_kill_before_any_write_is_mended_by_the_same_command(
    n: int, run_below: Callable, root: Path, tmp_path: Path, whole: tuple
) -> None:
    killed = _run(run_below(tmp_path, killed_at=n), root)
    assert killed.returncode in (-signal.SIGKILL, 0), killed.stderr
    done = _run(run_below(tmp_path), root)
    assert done.returncode == 0, done.stderr
    _check(tmp_path, whole)


@pytest.mark.parametrize("trial", range(10))
def test_random_kills_are_mended_by_the_same_command(
    trial: int, run_below: Callable, root: Path, tmp_path: Path, whole: tuple
) -> None:
    wait = random.Random(_SEED + trial)
    for _ in range(2):
        process = subprocess.Popen(
            run_below(tmp_path), cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(wait.uniform(4, 16))
        process.kill()
        process.wait()
    done = _run(run_below(tmp_path), root)
    assert done.returncode == 0, done.stderr
    _check(tmp_path, whole)


# None: half of what the weights take, which is within a checkpoint
@pytest.mark.parametrize("size", [200, 2_000, 100_000, None])
def test_a_full_disk_ends_with_one_line_and_is_mended_when_there_is_room(
    size: int | None, run_below: Callable, root: Path, tmp_path: Path, whole: tuple
) -> None:
    if size is None:
        size = sum(value.nbytes for value in whole[0].values()) // 2

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    full = _run(run_below(tmp_path), root, preexec_fn=limit)
    assert full.returncode == 1, full.stderr
    # before the work or within it
    (line,) = [text for text in full.stderr.splitlines() if text.startswith("error: ")]
    assert line.endswith("File too large.") or "cannot be written: " in line
    assert "Traceback" not in full.stderr
    done = _run(run_below(tmp_path), root)
    assert done.returncode == 0, done.stderr
    _check(tmp_path, whole)
