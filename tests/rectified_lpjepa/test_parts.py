# SPDX-License-Identifier: MIT
"""Projector and sparsity metrics, and that the maths needs torch alone."""

import subprocess
import sys

import pytest
import torch

from solo_plugins.rectified_lpjepa.projector import MLP, PROJECTORS, RectifiedMLP
from solo_plugins.rectified_lpjepa.sparsity import (
    all_zero_rows,
    dead_outputs,
    l0_sparsity,
    l1_sparsity,
)

Z = torch.tensor([[0.0, 3.0, 0.0, 4.0], [0.0, 0.0, 0.0, 0.0], [0.0, 1.0, 1.0, 1.0]])


@pytest.mark.parametrize("name", PROJECTORS)
def test_projectors_share_the_references_weight_names(name: str) -> None:
    projector = PROJECTORS[name](8, 6, 4)
    linear = {key for key in projector.state_dict() if key.endswith("weight")}
    assert linear == {"0.weight", "1.weight", "3.weight", "4.weight", "6.weight"}
    assert projector(torch.randn(5, 8)).shape == (5, 4)


def test_only_the_rectified_projector_is_non_negative() -> None:
    x = torch.randn(64, 8)
    assert (RectifiedMLP(8, 16, 32)(x) >= 0).all()
    assert (MLP(8, 16, 32)(x) < 0).any()


def test_what_comes_before_the_last_relu_can_be_cut_off() -> None:
    projector, x = RectifiedMLP(8, 16, 32).eval(), torch.randn(64, 8)
    before = projector[:-1](x)
    assert (before < 0).any()
    assert torch.equal(before.relu(), projector(x))
    assert projector[6].out_features == 32


@pytest.mark.parametrize("widths", [(0, 1, 1), (1, -2, 1), (1, 1, 0)])
def test_projectors_refuse_empty_layers(widths: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match=r"Expected `\w+_dim` to be positive but got (0|-2)"):
        MLP(*widths)


def test_l0_is_the_share_of_non_zeros() -> None:
    assert l0_sparsity(Z).item() == pytest.approx(5 / 12)


def test_l1_is_the_mean_ratio_of_norms_over_rows_that_are_not_zero() -> None:
    # rows: (7 / 5)^2 / 4, left out, (3 / sqrt 3)^2 / 4
    assert l1_sparsity(Z).item() == pytest.approx((0.49 + 0.75) / 2)


def test_collapse_is_counted_by_rows_and_by_outputs() -> None:
    assert all_zero_rows(Z).item() == pytest.approx(1 / 3)
    assert dead_outputs(Z).item() == pytest.approx(1 / 4)


@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e4])
def test_l1_does_not_depend_on_scale(scale: float) -> None:
    assert l1_sparsity(Z * scale).item() == pytest.approx(l1_sparsity(Z).item(), rel=1e-5)


@pytest.mark.parametrize("module", ["distribution", "directions", "rdmreg", "projector"])
def test_the_maths_imports_torch_alone(module: str) -> None:
    code = (
        f"import sys, solo_plugins.rectified_lpjepa.{module};"
        "found = {'lightning', 'solo', 'omegaconf', 'hydra', 'scipy', 'timm'} & set(sys.modules);"
        "assert not found, found"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
