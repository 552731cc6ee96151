# SPDX-License-Identifier: MIT
"""The pages whose Python is one program: it runs, in the order of the page."""

import re
from pathlib import Path

import pytest
import torch

EPOCHS = 3  # of the page's ten, which take longer than a test may


def test_the_training_loop_runs_and_nears_its_target(
    root: Path, capsys: pytest.CaptureFixture
) -> None:
    text = (root / "docs" / "training_loop.md").read_text()
    program = "\n".join(re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
    assert program.count("EPOCHS, BATCH = 10,") == 1
    program = program.replace("EPOCHS, BATCH = 10,", f"EPOCHS, BATCH = {EPOCHS},")
    names: dict = {}
    with torch.random.fork_rng():
        exec(compile(program, "docs/training_loop.md", "exec"), names)
    active = re.findall(r"epoch \d: loss [\d.]+, active ([\d.]+) %", capsys.readouterr().out)
    assert len(active) == EPOCHS
    # half of the outputs are active at first, a fifth is asked for
    assert float(active[-1]) < 45
    found = names["found"]
    assert 0.15 < found["l0"].item() < 0.35
    assert found["dead_outputs"] == 0
