# SPDX-License-Identifier: MIT
"""The stages for a GPU, at toy size on the CPU: they hold here, and go on where they were cut."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.mark.slow
def test_a_stage_goes_on_where_it_was_cut(benchmark: Callable, tmp_path: Path) -> None:
    out = tmp_path / "found.jsonl"
    # what takes long and is tested elsewhere: resuming, two processes, runs
    skipped = ("resumed run", "repeated run", "two processes", "every method")
    known = {f"check/{name}": {"ok": "known"} for name in skipped}
    out.write_text(json.dumps(known) + "\n")
    done = benchmark("accelerator", "check", "--device", "cpu", "--toy", "--out", str(out))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["two processes"] == {"ok": "known"}
    cells = {name: part["ok"] for name, part in found.items() if isinstance(part, dict)}
    assert all(cells.values()), cells
    assert sum(ok is True for ok in cells.values()) >= 15
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert {key for line in lines for key in line} == {f"check/{name}" for name in cells}


@pytest.mark.torture
@pytest.mark.parametrize("stage", ["check", "rdmreg", "step", "train"])
def test_every_stage_holds_at_toy_size(stage: str, benchmark: Callable, tmp_path: Path) -> None:
    out = str(tmp_path / "found.jsonl")
    done = benchmark("accelerator", stage, "--device", "cpu", "--toy", "--out", out)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert all(part["ok"] for part in found.values() if isinstance(part, dict)), found
