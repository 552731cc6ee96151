# SPDX-License-Identifier: MIT
"""The table: what each cell says, and what it says where nothing was measured."""

__all__ = ["HEADER", "cells", "duration", "markdown"]

import math
from collections.abc import Iterable, Sequence

from solo_plugins.report.rows import Mean, Row

HEADER = (
    "method", "target", "epochs", "seeds", "linear backbone", "linear projector", "kNN backbone",
    "kNN projector", "l0", "l1", "target l0", "dead outputs", "always-on", "all-zero rows",
    "effective rank", "marginal W2", "nHSIC", "wall time", "config", "commit",
)  # fmt: skip
_NOT_RUN = "not run"


def cells(row: Row) -> list[str]:
    """Write a row of the table.

    Args:
        row: runs that differ in their seed only.

    Returns:
        A text for each column of ``HEADER``: accuracies in percent, shares and nHSIC in [0, 1],
        effective ranks in outputs, distances in their unit, each as mean and sample standard
        deviation over the seeds; ``not run`` where nothing was measured.
    """
    seeds = [str(run.cfg.seed) for run in row.runs]
    accuracies = ("linear_backbone", "linear_projector", "knn_backbone", "knn_projector")
    shares = ("dead_outputs", "always_on_outputs", "all_zero_rows")
    distance = _cell(row.mean("marginal_distance"), len(seeds), 3)
    config = str(row.first.cfg.name) + (f" ({row.differs})" if row.differs else "")
    return [
        str(row.first.cfg.method),
        _target(row),
        str(row.first.epochs),
        f"{len(seeds)} ({', '.join(seeds)})",
        *(_cell(row.mean(column), len(seeds), 2) for column in accuracies),
        *(_cell(row.mean(column), len(seeds), 3) for column in ("l0", "l1")),
        "none" if row.target is None else _decimals(row.target.l0, 3),
        *(_cell(row.mean(column), len(seeds), 3) for column in shares),
        _cell(row.mean("effective_rank"), len(seeds), 1),
        "none" if row.target is None and distance == _NOT_RUN else distance,
        _cell(row.mean("nhsic"), len(seeds), 3),
        _time(row.mean("seconds"), len(seeds)),
        config,
        ", ".join(sorted({_commit(run.commit) for run in row.runs})),
    ]


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    r"""Write a table in Markdown.

    Args:
        header: the columns' names.
        rows: as many texts each.

    Returns:
        Lines that end in a newline; a bar within a cell is escaped.

    Example:
        >>> print(markdown(["a", "b"], [["1", "x|y"]]), end="")
        | a | b |
        | --- | --- |
        | 1 | x\|y |
    """
    lines = [header, ["---"] * len(header), *rows]
    escaped = [[cell.replace("|", r"\|").replace("\n", " ") for cell in line] for line in lines]
    return "".join(f"| {' | '.join(line)} |\n" for line in escaped)


def duration(seconds: float) -> str:
    """Write a time in the two largest units that a person would use.

    Args:
        seconds: non-negative.

    Returns:
        For instance ``4 min 30 s``.

    Example:
        >>> duration(59.6), duration(270), duration(8100)
        ('1 min 0 s', '4 min 30 s', '2 h 15 min')
    """
    if not math.isfinite(seconds):
        return "NaN"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min"


def _target(row: Row) -> str:
    if row.target is None:
        return "none"
    target = row.target
    kind = ("" if target.rectified else ", dense") + (", calibrated" if target.calibrated else "")
    rule = "" if target.scale_rule == "sigma_GN" else f", {target.scale_rule}"
    return f"p={target.p:g}, mu={target.loc:.3g}{kind}{rule}"


def _cell(mean: Mean | None, seeds: int, decimals: int) -> str:
    if mean is None:
        return _NOT_RUN
    if mean.mark == "unreadable":
        return mean.mark
    text = _decimals(mean.value, decimals)
    if mean.std is not None and math.isfinite(mean.value):
        text += f" ± {mean.std:.{decimals}f}"
    notes = [mean.mark] if mean.mark else []
    notes += [f"n={mean.n}"] if mean.n < seeds else []
    return f"{text} ({', '.join(notes)})" if notes else text


def _decimals(value: float, decimals: int) -> str:
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else str(value)
    text = f"{value:.{decimals}f}"
    # What rounds to nothing is not nothing.
    return f"< {10**-decimals:.{decimals}f}" if value > 0 and float(text) == 0 else text


def _time(mean: Mean | None, seeds: int) -> str:
    if mean is None:
        return _NOT_RUN
    return duration(mean.value) + (f" (n={mean.n})" if mean.n < seeds else "")


def _commit(commit: str | None) -> str:
    if not isinstance(commit, str):
        return "unknown"
    digits, dash, dirty = commit.partition("-")
    return f"{digits[:7]}{dash}{dirty}"
