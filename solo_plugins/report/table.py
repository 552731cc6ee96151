# SPDX-License-Identifier: MIT
"""The tables: the text of each cell, their order, and what is printed in bold."""

__all__ = ["COLUMNS", "NUMBERS", "best", "cells", "duration", "measured", "ranked", "table"]

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from solo_plugins.pictures.style import typeset
from solo_plugins.report.measures import most_measured
from solo_plugins.report.rows import Mean, Row
from solo_plugins.runs.description import method_name
from solo_plugins.untrusted.text import markdown

_NOT_RUN = "not run"
# Columns of numbers: the measured value that each shows, and its decimals. The target's fraction
# is not measured; it has its place among them.
NUMBERS = {
    "linear backbone": ("linear_backbone", 2),
    "linear projector": ("linear_projector", 2),
    "kNN backbone": ("knn_backbone", 2),
    "kNN projector": ("knn_projector", 2),
    "active": ("l0", 3),
    "l1": ("l1", 3),
    "target active": ("", 3),
    "dead outputs": ("dead_outputs", 3),
    "always-on": ("always_on_outputs", 3),
    "all-zero rows": ("all_zero_rows", 3),
    "effective rank": ("effective_rank", 1),
    "backbone rank": ("backbone_rank", 1),
    "marginal W2": ("marginal_distance", 3),
    "nHSIC": ("nhsic", 3),
}
# Those in which more is better, whatever the method.
_ACCURACIES = ("linear backbone", "linear projector", "kNN backbone", "kNN projector")
# What a run has measured during training where no evaluation did.
_ONLINE = {"linear backbone": "online_backbone", "linear projector": "online_projector"}
# At most ten columns a table, by the table's heading.
COLUMNS: dict[str, tuple[str, ...]] = {
    "Accuracy": (
        *("method", "target", "epochs", "seeds", *_ACCURACIES, "active", "target active"),
    ),
    "Outputs": (
        *("method", "target", "l1", "dead outputs", "always-on", "all-zero rows"),
        *("effective rank", "backbone rank", "marginal W2", "nHSIC"),
    ),
}


def cells(row: Row) -> dict[str, str]:
    """Write a row of the table.

    Args:
        row: runs that differ in their seed only.

    Returns:
        A text by column: accuracies in percent, fractions and nHSIC in [0, 1], effective ranks in
        outputs, distances in their unit, each as mean and sample standard deviation over the seeds;
        ``not run`` where nothing was measured.
    """
    seeds = [str(run.cfg.seed) for run in row.runs]
    numbers = {
        name: _cell(measured(row, name), len(seeds), decimals)
        for name, (_, decimals) in NUMBERS.items()
    }
    numbers["target active"] = "none" if row.target is None else _decimals(row.target.l0, 3)
    if row.target is None and numbers["marginal W2"] == _NOT_RUN:
        numbers["marginal W2"] = "none"
    return {
        "method": typeset(method_name(str(row.first.cfg.method))) + row.suffix,
        "target": _target(row),
        "epochs": str(row.first.epochs),
        "seeds": f"{len(seeds)} ({', '.join(seeds)})",
        **numbers,
    }


def measured(row: Row, name: str) -> Mean:
    """Give what a column of numbers shows.

    Args:
        row: runs that differ in their seed only.
        name: the column, one of :data:`NUMBERS`.

    Returns:
        The mean over seeds; of a linear probe that no evaluation trained, that of the online one.
    """
    mean = row.mean(NUMBERS[name][0])
    return mean if mean.n or name not in _ONLINE else row.mean(_ONLINE[name])


def ranked(rows: Sequence[Row]) -> tuple[list[Row], str]:
    """Put rows in the order of the table, the most accurate first.

    Args:
        rows: of one section.

    Returns:
        The rows, those without the measurement last in their order; and the measurement by which
        they are sorted, the one of backbone features that most rows have, in words.
    """
    measure = most_measured(rows, "backbone")
    if measure is None:
        return list(rows), "method"
    means = {row.label: measure.of(row, "backbone") for row in rows}
    # sorting is stable
    order = sorted(rows, key=lambda row: -mean.value if (mean := means[row.label]) else math.inf)
    return order, f"{measure.name} on the backbone"


def best(rows: Sequence[Row], column: str) -> set[int]:
    """Find the highest accuracies.

    Args:
        rows: of one section.
        column: of the table.

    Returns:
        The numbers of the rows whose mean is below the highest one by its sample standard deviation
        over seeds at most. Only values that were measured in the same way are compared: each way
        has its best, unless it has a single value or the column is no accuracy.
    """
    if column not in _ACCURACIES:
        return set()
    ways: dict[str, dict[int, Mean]] = {}
    for number, row in enumerate(rows):
        mean = measured(row, column)
        if mean.n and math.isfinite(mean.value):
            ways.setdefault(mean.mark, {})[number] = mean
    return set().union(*(_top(means) for means in ways.values() if len(means) > 1))


def _top(means: Mapping[int, Mean]) -> set[int]:
    top = max(means.values(), key=lambda mean: mean.value)
    least = top.value - (0.0 if math.isnan(top.std) else top.std)
    return {number for number, mean in means.items() if mean.value >= least}


def table(
    rows: Iterable[Mapping[str, str]], bold: Mapping[str, Collection[int]] | None = None
) -> str:
    r"""Write a table in Markdown.

    Args:
        rows: texts by column, the same columns in each; what is no
            :class:`~solo_plugins.untrusted.text.Markdown` is escaped.
        bold: by column, the numbers of the rows whose text is bold.

    Returns:
        Lines that end in a newline.

    Example:
        >>> print(table([{"a": "1", "b": "x|<y>"}]), end="")
        | a | b |
        |-----|----------------|
        | 1 | x\|&#60;y&#62; |
    """
    escaped = pd.DataFrame(
        [{name: str(markdown(cell)) for name, cell in row.items()} for row in rows]
    )
    for column, numbers in (bold or {}).items():
        for number in numbers:
            escaped.loc[number, column] = f"**{escaped.loc[number, column]}**"
    # Cells are neither read as numbers, which would round them, nor filled up with spaces.
    options: dict[str, Any] = {"disable_numparse": True, "stralign": None}
    return escaped.to_markdown(index=False, tablefmt="github", **options) + "\n"


def duration(seconds: float) -> str:
    """Write a time in the two largest units that a person would use.

    Args:
        seconds: non-negative, or NaN.

    Returns:
        For instance ``4 min 30 s``.

    Example:
        >>> duration(59.6), duration(270), duration(8100)
        ('1 min 0 s', '4 min 30 s', '2 h 15 min')
    """
    if math.isnan(seconds):
        return "NaN"
    whole, minutes = round(seconds), round(seconds / 60)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{minutes // 60} h {minutes % 60} min"


def _target(row: Row) -> str:
    if row.target is None:
        return "none"
    target = row.target
    kind = "" if target.rectified else ", dense"
    rule = "" if target.scale_rule == "sigma_GN" else f", {target.scale_rule}"
    return typeset(f"p={target.p:g}, {target.aim}{kind}{rule}")


def _cell(mean: Mean, seeds: int, decimals: int) -> str:
    if not mean.n:
        return _NOT_RUN
    if mean.mark == "unreadable":
        return mean.mark
    deviation = "" if math.isnan(mean.std) else f" ± {mean.std:.{decimals}f}"
    return _with_notes(_decimals(mean.value, decimals) + deviation, mean, seeds)


def _with_notes(text: str, mean: Mean, seeds: int) -> str:
    notes = [mean.mark] if mean.mark else []
    notes += [f"n={mean.n}"] if mean.n < seeds else []
    return f"{text} ({', '.join(notes)})" if notes else text


def _decimals(value: float, decimals: int) -> str:
    if math.isnan(value):
        return "NaN"
    text = typeset(f"{value:.{decimals}f}")
    # A small value is not shown as zero.
    return (
        f"< {10**-decimals:.{decimals}f}"
        if value > 0 and not float(f"{value:.{decimals}f}")
        else text
    )
