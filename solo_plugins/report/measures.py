# SPDX-License-Identifier: MIT
"""Which of several measurements of accuracy a picture or an order goes by."""

__all__ = ["MEASURES", "Measure", "most_measured"]

import math
from collections.abc import Sequence
from typing import NamedTuple

from solo_plugins.report.read import KNN
from solo_plugins.report.rows import Mean, Row


class Measure(NamedTuple):
    """A way in which accuracy is measured.

    Args:
        column: of the measured values, without the features behind it.
        mark: how it was measured, see :class:`~solo_plugins.report.read.Number`.
        name: in words, with the mark as tables have it.
    """

    column: str
    mark: str
    name: str

    def of(self, row: Row, features: str) -> Mean | None:
        """Return a row's value, or None if it was not measured in this way or is not finite."""
        mean = row.mean(f"{self.column}_{features}")
        there = mean.n > 0 and mean.mark == self.mark and math.isfinite(mean.value)
        return mean if there else None


_KNN_NAME = f"kNN (k = {KNN['k']})"
MEASURES = (
    Measure("linear", "", "linear probe"),
    Measure("linear", "cached", "linear probe (cached)"),
    Measure("knn", "", _KNN_NAME),
    Measure("knn", "online", "kNN (online)"),
    Measure("online", "online", "linear probe (online)"),
)


def most_measured(rows: Sequence[Row], features: str) -> Measure | None:
    """Choose the measurement that most rows have, of several the first.

    Args:
        rows: of one section.
        features: ``backbone`` or ``projector``.

    Returns:
        The measurement, or None if no row has one.
    """
    counts = {each: sum(each.of(row, features) is not None for row in rows) for each in MEASURES}
    found = max(MEASURES, key=lambda each: counts[each])
    return found if counts[found] else None
