# SPDX-License-Identifier: MIT
"""The benchmark of asked and achieved sparsity runs, and recommends what the YAML says."""

import json
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image

SMALL = ["--steps", "3", "--batch", "16", "--dim", "16", "--projections", "8", "--workers", "1"]


def test_it_prints_a_table_and_its_figures_which_can_be_drawn(
    benchmark: Callable, tmp_path: Path
) -> None:
    grid = ["--targets", "0.1", "--p", "1", "--seeds", "2"]
    run = benchmark("sparsity_control", *grid, *SMALL)
    assert run.returncode == 0, run.stderr
    *table, last = run.stdout.splitlines()
    assert [line.split()[2] for line in table] == ["variant", "paper", "ours"]
    figures = json.loads(last)
    names = {"mean_abs_error", "mean_abs_error_paper", "knn_delta", "dead_outputs_max"}
    assert names | {"all_zero_rows_max"} <= figures.keys()
    shares = [float(line.split()[3]) for line in table[1:]]
    # printed to four digits; the mean over seeds of an error is not below the mean's error
    assert figures["mean_abs_error_paper"] >= abs(shares[0] - 0.1) - 1e-4
    assert figures["mean_abs_error"] >= abs(shares[1] - 0.1) - 1e-4
    (tmp_path / "table.txt").write_text(run.stdout)
    picture = tmp_path / "picture.png"
    drawn = benchmark("sparsity_plot", str(tmp_path / "table.txt"), str(picture))
    assert drawn.returncode == 0, drawn.stderr
    with Image.open(picture) as image:
        assert min(image.size) > 100


def test_a_folder_without_the_data_is_named(benchmark: Callable, tmp_path: Path) -> None:
    run = benchmark("sparsity_control", "--data", str(tmp_path))
    assert run.returncode == 2
    assert f"`--data` to hold cifar-100-python but got {str(tmp_path)!r}" in run.stderr


@pytest.fixture
def names(root: Path) -> dict[str, Any]:
    """Return what the benchmark's module defines."""
    return runpy.run_path(str(root / "benchmarks" / "sparsity_control.py"))


def test_ours_is_the_recommended_yaml(names: dict[str, Any], root: Path) -> None:
    ours = names["VARIANTS"]["ours"]
    path = root / "solo_plugins/configs/shared/calibrated.yaml"
    given = OmegaConf.to_container(OmegaConf.load(path).method_kwargs)
    # kinds of directions are compared elsewhere
    for name in ("target_active_fraction", "projection_vectors_type"):
        given.pop(name)
    assert given == ours


@pytest.mark.parametrize("channels", [1, 3])
def test_views_differ_and_keep_their_shape(channels: int, names: dict[str, Any]) -> None:
    augment = names["augment"]
    images = torch.rand(4, channels, 8, 8, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    first, second = augment(images, generator), augment(images, generator)
    assert first.shape == images.shape
    assert not torch.equal(first, second)
