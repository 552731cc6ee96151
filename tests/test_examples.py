# SPDX-License-Identifier: MIT
"""The minimal example runs, and learns something, on random images."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
import torch


@pytest.fixture
def minimal(root: Path) -> ModuleType:
    """Load the example, which is no package."""
    spec = importlib.util.spec_from_file_location("minimal", root / "examples" / "minimal.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_minimal_example_lowers_its_loss(
    minimal: ModuleType, capsys: pytest.CaptureFixture
) -> None:
    few = ["--synthetic", "--batch-size", "16", "--max-batches", "4", "--workers", "0"]
    last = minimal.main([*few, "--epochs", "2"])
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 2
    losses = [float(re.match(r"epoch \d: loss ([\d.]+), zeros 0\.", line)[1]) for line in printed]
    assert losses[1] == pytest.approx(last, abs=1e-3)
    assert last < 0.95 * losses[0]


def test_minimal_example_makes_two_different_views(minimal: ModuleType) -> None:
    image = minimal.T.ToPILImage()(torch.rand(3, 32, 32))
    first, second = minimal.two_views(image)
    assert first.shape == second.shape == (3, 32, 32)
    assert not torch.equal(first, second)
