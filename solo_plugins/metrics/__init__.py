# SPDX-License-Identifier: MIT
"""Measures of sparsity, collapse and dependence of a network's outputs."""

__all__ = [
    "EffectiveRank", "OutputDiagnostics", "all_zero_rows", "dead_outputs", "effective_rank",
    "l0_sparsity", "l1_by_row", "l1_sparsity", "marginal_distance", "nhsic",
]  # fmt: skip

from solo_plugins.metrics.diagnostics import OutputDiagnostics
from solo_plugins.metrics.row_sample import EffectiveRank
from solo_plugins.metrics.sample_statistics import (
    effective_rank,
    marginal_distance,
    nhsic,
)
from solo_plugins.metrics.sparsity import (
    all_zero_rows,
    dead_outputs,
    l0_sparsity,
    l1_by_row,
    l1_sparsity,
)
