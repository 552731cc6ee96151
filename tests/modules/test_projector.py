# SPDX-License-Identifier: MIT
"""The projectors: weight names, signs, cuts and errors."""

import pytest
import torch
from torch import nn

from solo_plugins.modules import MLP, PROJECTORS, SHALLOW, RectifiedMLP, RepReLU


@pytest.mark.parametrize("name", PROJECTORS)
def test_projectors_share_the_references_weight_names(name: str) -> None:
    projector = PROJECTORS[name](8, 6, 4)
    linear = {key for key in projector.state_dict() if key.endswith("weight")}
    assert linear == {"0.weight", "1.weight", "3.weight", "4.weight", "6.weight"}
    assert projector(torch.randn(5, 8)).shape == (5, 4)


@pytest.mark.parametrize("name", PROJECTORS)
def test_only_the_rectified_projectors_are_non_negative(name: str) -> None:
    z = PROJECTORS[name](8, 16, 32)(torch.randn(64, 8))
    assert bool((z >= 0).all()) is (name != "mlp")


@pytest.mark.parametrize(
    ("name", "last"),
    [("mlp2", []), ("rectified_mlp2", [nn.ReLU]), ("rep_rectified_mlp2", [RepReLU])],
)
def test_shallow_projectors_are_simclrs(name: str, last: list[type]) -> None:
    projector, x = SHALLOW[name](8, 16, 32), torch.randn(64, 8)
    kinds = [nn.Linear, nn.ReLU, nn.Linear, *last]
    assert [type(layer) for layer in projector] == kinds
    z = projector(x)
    assert z.shape == (64, 32)
    assert bool((z >= 0).all()) is (name != "mlp2")


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
