# SPDX-License-Identifier: MIT
"""Losses on the outputs of several views, and the directions that some are computed along."""

__all__ = [
    "DIRECTIONS", "Directions", "HadamardDirections", "HadamardProjections",
    "OrthogonalDirections", "Projections", "RDMReg", "RandomDirections", "SIGReg",
    "SingularDirections", "epps_pulley", "mean_over_pairs", "orthogonal_directions",
    "random_directions", "singular_directions", "sliced_wasserstein",
]  # fmt: skip

from solo_plugins.losses.directions import (
    DIRECTIONS,
    Directions,
    HadamardDirections,
    OrthogonalDirections,
    RandomDirections,
    SingularDirections,
    orthogonal_directions,
    random_directions,
    singular_directions,
)
from solo_plugins.losses.hadamard import HadamardProjections
from solo_plugins.losses.pairs import mean_over_pairs
from solo_plugins.losses.projections import Projections
from solo_plugins.losses.rdmreg import RDMReg
from solo_plugins.losses.sigreg import SIGReg, epps_pulley
from solo_plugins.losses.sliced_wasserstein import sliced_wasserstein
