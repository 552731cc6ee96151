# SPDX-License-Identifier: MIT
"""The table: the text of each cell, and of those where nothing was measured."""

__all__ = ["cells", "duration", "table"]

import math
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from solo_plugins.report.rows import Mean, Row
from solo_plugins.untrusted.text import markdown

_NOT_RUN = "not run"
# Columns of numbers: the measured value that each shows, and its decimals. The target's l0 is not
# measured; it has its place among them.
_NUMBERS = {
    "linear backbone": ("linear_backbone", 2),
    "linear projector": ("linear_projector", 2),
    "kNN backbone": ("knn_backbone", 2),
    "kNN projector": ("knn_projector", 2),
    "l0": ("l0", 3),
    "l1": ("l1", 3),
    "target l0": ("", 3),
    "dead outputs": ("dead_outputs", 3),
    "always-on": ("always_on_outputs", 3),
    "all-zero rows": ("all_zero_rows", 3),
    "effective rank": ("effective_rank", 1),
    "backbone rank": ("backbone_rank", 1),
    "marginal W2": ("marginal_distance", 3),
    "nHSIC": ("nhsic", 3),
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
        name: _cell(row.mean(column), len(seeds), decimals)
        for name, (column, decimals) in _NUMBERS.items()
    }
    numbers["target l0"] = "none" if row.target is None else _decimals(row.target.l0, 3)
    if row.target is None and numbers["marginal W2"] == _NOT_RUN:
        numbers["marginal W2"] = "none"
    time = row.mean("seconds")
    return {
        "method": str(row.first.cfg.method),
        "target": _target(row),
        "epochs": str(row.first.epochs),
        "seeds": f"{len(seeds)} ({', '.join(seeds)})",
        **numbers,
        "wall time": _with_notes(duration(time.value), time, len(seeds)) if time.n else _NOT_RUN,
        "config": row.name + (f" ({row.differs})" if row.differs else ""),
        "commit": ", ".join(sorted({_commit(run.commit) for run in row.runs})),
    }


def table(rows: Iterable[Mapping[str, str]]) -> str:
    r"""Write a table in Markdown.

    Args:
        rows: texts by column, the same columns in each; what is no
            :class:`~solo_plugins.untrusted.text.Markdown` is escaped.

    Returns:
        Lines that end in a newline.

    Example:
        >>> print(table([{"a": "1", "b": "x|<y>"}]), end="")
        | a | b |
        |-----|----------------|
        | 1 | x\|&#60;y&#62; |
    """
    escaped = [{name: str(markdown(cell)) for name, cell in row.items()} for row in rows]
    # Cells are neither read as numbers, which would round them, nor filled up with spaces.
    options: dict[str, Any] = {"disable_numparse": True, "stralign": None}
    return pd.DataFrame(escaped).to_markdown(index=False, tablefmt="github", **options) + "\n"


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
    kind = ("" if target.rectified else ", dense") + (", calibrated" if target.calibrated else "")
    rule = "" if target.scale_rule == "sigma_GN" else f", {target.scale_rule}"
    return f"p={target.p:g}, mu={target.loc:.3g}{kind}{rule}"


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
    text = f"{value:.{decimals}f}"
    # A small value is not shown as zero.
    return f"< {10**-decimals:.{decimals}f}" if value > 0 and float(text) == 0 else text


def _commit(commit: str | None) -> str:
    if not isinstance(commit, str):
        return "unknown"
    digits, dash, dirty = commit.partition("-")
    return f"{digits[:7]}{dash}{dirty}"
