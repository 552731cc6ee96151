# SPDX-License-Identifier: MIT
"""Which pictures a report has."""

__all__ = ["FIGURES"]

from collections.abc import Callable, Sequence
from pathlib import Path

from solo_plugins.report.distributions import outputs
from solo_plugins.report.rows import Row
from solo_plugins.report.tradeoff import pareto, sparsity
from solo_plugins.report.training import curves

# By file name: what draws it, which returns what it does without, and what it shows.
FIGURES: dict[str, tuple[Callable[[Sequence[Row], Path], list[str]], str]] = {
    "pareto": (pareto, "Accuracy against the share of zero outputs"),
    "sparsity": (sparsity, "Share of active outputs, trained and asked for"),
    "outputs": (outputs, "Histogram of trained outputs over the target's density"),
    "curves": (curves, "Training curves"),
}
