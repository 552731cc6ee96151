# SPDX-License-Identifier: MIT
"""Functions of the maths refuse tensors without a meaning, by the argument's name."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from solo_plugins.distributions import GeneralizedGaussian, RectifiedGeneralizedGaussian
from solo_plugins.losses import DIRECTIONS, RDMReg, SIGReg, mean_over_pairs
from solo_plugins.losses.directions import (
    orthogonal_directions,
    random_directions,
    singular_directions,
)
from solo_plugins.losses.sigreg import epps_pulley
from solo_plugins.losses.sliced_wasserstein import sliced_wasserstein
from solo_plugins.metrics import (
    EffectiveRank,
    OutputDiagnostics,
    all_zero_rows,
    dead_outputs,
    effective_rank,
    l0_sparsity,
    l1_by_row,
    l1_sparsity,
    marginal_distance,
    nhsic,
)
from solo_plugins.modules import ThresholdedReLU, rep_relu

TARGET = RectifiedGeneralizedGaussian(0.0, 1.0, 1.0)
EYE = torch.eye(3)
TABLES: dict[str, Callable[[Tensor], Any]] = {
    "l0": l0_sparsity,
    "l1": l1_sparsity,
    "l1 by row": l1_by_row,
    "zero rows": all_zero_rows,
    "dead": dead_outputs,
    "rank": effective_rank,
    "nhsic": nhsic,
    "marginals": lambda z: marginal_distance(z, TARGET),
    "diagnostics": OutputDiagnostics(3).update,
    "rank of an epoch": EffectiveRank(3).update,
    "thresholds": ThresholdedReLU(3),
    "adjust": lambda z: ThresholdedReLU(3).adjust(z, 0.5, 0.1),
    "singular": singular_directions,
    "wasserstein": lambda z: sliced_wasserstein(z, EYE, EYE),
    "target": lambda z: sliced_wasserstein(EYE, z, EYE),
    "projections": lambda z: sliced_wasserstein(EYE, EYE, z),
    "sigreg": lambda z: SIGReg(2)([z, z]),
    **{
        f"rdmreg {name}": lambda z, kind=kind: RDMReg(TARGET, kind(4))(z)
        for name, kind in DIRECTIONS.items()
    },
}
# An update without rows, as a process may have none, changes nothing.
MAY_BE_EMPTY = {"diagnostics", "rank of an epoch", "thresholds"}


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("shape", [(), (3,), (0, 3), (3, 0), (2, 2, 2, 3)], ids=str)
def test_another_shape_is_refused(name: str, shape: tuple[int, ...]) -> None:
    if shape == (0, 3) and name in MAY_BE_EMPTY:
        TABLES[name](torch.zeros(shape))
        return
    with pytest.raises(ValueError, match=r"^Expected .*`\w+`.* (shape|views|but got 0)"):
        TABLES[name](torch.zeros(shape))


@pytest.mark.parametrize("name", TABLES)
def test_complex_numbers_are_refused(name: str) -> None:
    with pytest.raises(TypeError, match=r"^Expected `\w+` to be real but got torch.complex64"):
        TABLES[name](torch.zeros(3, 3, dtype=torch.complex64))


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("layout", ["sparse_coo", "sparse_csr"])
@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support")
def test_sparse_layouts_are_refused(name: str, layout: str) -> None:
    z = torch.eye(3).to_sparse(layout=getattr(torch, layout))
    match = rf"^Expected `\w+` to be dense but got torch.{layout}; `to_dense\(\)`"
    with pytest.raises(TypeError, match=match):
        TABLES[name](z)


@pytest.mark.parametrize(
    "call",
    [
        rep_relu,
        lambda x: epps_pulley(x.view(2, 1)),
        lambda x: GeneralizedGaussian(x, 1.0, 1.0),
        lambda x: RectifiedGeneralizedGaussian(0.0, 1.0, x),
    ],
    ids=["rep_relu", "epps_pulley", "loc", "p"],
)
def test_complex_numbers_of_any_shape_are_refused(call: Callable) -> None:
    with pytest.raises(TypeError, match=r"^Expected `\w+` to be real but got torch.complex64"):
        call(torch.zeros(2, dtype=torch.complex64))


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: epps_pulley(torch.zeros(3)), r"`samples` to be of shape"),
        (lambda: epps_pulley(torch.zeros(0, 3)), r"`samples` to be of shape"),
        (lambda: mean_over_pairs(torch.dist, [EYE], 1), "at least two views"),
        (lambda: mean_over_pairs(torch.dist, [EYE, EYE], 0), "at least two views"),
        (lambda: random_directions(2, 0), "`dim` positive but got 2 and 0"),
        (lambda: orthogonal_directions(-1, 2), "got -1 and 2"),
        (lambda: ThresholdedReLU(3).adjust(EYE, 1.0, 0.1), "`target` to be between 0 and 1"),
        (lambda: ThresholdedReLU(3).adjust(EYE, 0.5, float("inf")), "`rate` to be positive"),
        (lambda: RDMReg(TARGET, DIRECTIONS["random"](2))([EYE, EYE[:2]]), "views of one shape"),
    ],
)
def test_numbers_without_a_meaning_are_refused(call: Callable, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        call()


def test_whole_parameters_are_no_cut_off_results() -> None:
    whole = RectifiedGeneralizedGaussian(torch.tensor(0), torch.tensor(1), torch.tensor(2))
    assert whole.active_probability == 0.5
    assert whole.mean == pytest.approx(0.3989, abs=1e-4)  # of half a normal law, 1 / sqrt(2 pi)
