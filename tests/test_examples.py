# SPDX-License-Identifier: MIT
"""The minimal example runs, and learns something, on random images."""

import importlib.util
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
    few = ["--synthetic", "--batch-size", "32", "--max-batches", "4", "--workers", "0"]
    first = minimal.main([*few, "--epochs", "1"])
    last = minimal.main([*few, "--epochs", "3"])
    printed = capsys.readouterr().out.splitlines()
    assert last < 0.9 * first
    assert len(printed) == 4
    assert printed[0].startswith("epoch 0: loss ")
    assert ", zeros 0." in printed[-1]


def test_minimal_example_makes_two_different_views(minimal: ModuleType) -> None:
    image = minimal.T.ToPILImage()(torch.rand(3, 32, 32))
    first, second = minimal.two_views(image)
    assert first.shape == second.shape == (3, 32, 32)
    assert not torch.equal(first, second)
