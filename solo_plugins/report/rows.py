# SPDX-License-Identifier: MIT
"""Rows of the table: runs that differ in nothing but their seed are one."""

__all__ = ["Mean", "Row", "differences", "group"]

import math
import re
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from solo_plugins.report.curves import Curves
from solo_plugins.report.find import LeftOut
from solo_plugins.report.runs import Run, canonical
from solo_plugins.runs.description import TargetDescription
from solo_plugins.runs.find import compared

# Of values that were measured in several ways the first way is shown, never a mixture.
_MARKS = ("", "fine-tuned", "online", "unreadable")


class Mean(NamedTuple):
    """A value over seeds.

    Args:
        value: the mean, in the unit of the values.
        std: the sample standard deviation (n - 1), None of a single value.
        n: how many seeds have it.
        mark: how it was measured, see :class:`~solo_plugins.report.runs.Number`.
    """

    value: float
    std: float | None
    n: int
    mark: str


@dataclass
class Row:
    """Runs that differ in their seed only.

    Args:
        runs: at least one, by seed.
        label: what tells this row from the others of its section, short enough for a legend.
        differs: settings in which it differs from rows that would look the same, or empty.
    """

    runs: list[Run]
    label: str = ""
    differs: str = ""

    @property
    def first(self) -> Run:
        """The run of the lowest seed."""
        return self.runs[0]

    @property
    def target(self) -> TargetDescription | None:
        """The target of all of its runs."""
        return self.first.description.target

    @property
    def section(self) -> tuple[str, str]:
        """Data set and backbone: what rows are compared within."""
        return self.first.cfg.data.dataset, self.first.cfg.backbone.name

    def mean(self, column: str) -> Mean | None:
        """Average a measured value over seeds.

        Args:
            column: its name.

        Returns:
            Mean and deviation of those seeds that have it in the best way of measuring it that any
            has, or None if it was not measured. NaN or infinity among them makes the mean NaN.
        """
        numbers = [run.numbers[column] for run in self.runs if column in run.numbers]
        for mark in _MARKS:
            values = [number.value for number in numbers if number.mark == mark]
            if values:
                return _mean(values, mark)
        return None

    def curves(self) -> Curves:
        """Return the logged curves, averaged over the seeds that have an epoch."""
        return {
            name: _average([run.curves[name] for run in self.runs if name in run.curves])
            for name in ("loss", "knn", "linear", "l0")
            if any(name in run.curves for run in self.runs)
        }


def group(runs: Iterable[Run]) -> tuple[list[Row], list[LeftOut]]:
    """Make rows of runs.

    Args:
        runs: in any order.

    Returns:
        The rows, Rectified LpJEPA by p and mu, then the other methods by name, and the runs that
        repeat another one of the same configuration and seed: the last of these is shown, by the
        time in the folder's name, so that it does not count twice.
    """
    groups: dict[str, dict[Any, Run]] = defaultdict(dict)
    left_out = []
    for run in sorted(runs, key=lambda run: (_stamp(run), str(run.folder))):
        seeds = groups[run.identity("seed")]
        if run.cfg.seed in seeds:
            repeated = seeds[run.cfg.seed].folder
            reason = f"same configuration and seed as {run.folder}, which is later"
            left_out.append(LeftOut(str(repeated), reason))
        seeds[run.cfg.seed] = run
    rows = [Row(sorted(seeds.values(), key=lambda r: r.cfg.seed)) for seeds in groups.values()]
    rows.sort(key=_order)
    _label(rows)
    return rows, left_out


def differences(rows: Sequence[Row], *but: str) -> list[str]:
    """Name what tells rows apart: what a person looks for first, and no more than a legend holds.

    Args:
        rows: at least two.
        but: dotted keys that are left out.

    Returns:
        For each row at most two settings, with dots behind them if there are more.
    """
    settings = [_flat(row.first) for row in rows]
    keys = {key for one in settings for key in one if not key.startswith("enable_")} - set(but)
    differ = [key for key in keys if len({canonical(one.get(key)) for one in settings}) > 1]
    differ.sort(key=lambda key: (key != "max_epochs", not key.startswith("method_kwargs."), key))
    more = ["..."] if len(differ) > 2 else []
    shown = [(key.rpartition(".")[2], key) for key in differ[:2]]
    return [
        ", ".join([*(f"{name}={_short(one.get(key))}" for name, key in shown), *more])
        for one in settings
    ]


def _mean(values: list[float], mark: str) -> Mean:
    if not all(map(math.isfinite, values)):
        return Mean(math.nan, None, len(values), mark)
    std = statistics.stdev(values) if len(values) > 1 else None
    return Mean(statistics.fmean(values), std, len(values), mark)


def _average(curves: list[dict[int, float]]) -> dict[int, float]:
    epochs = sorted({epoch for curve in curves for epoch in curve})
    return {
        epoch: statistics.fmean(curve[epoch] for curve in curves if epoch in curve)
        for epoch in epochs
    }


def _stamp(run: Run) -> str:
    found = re.search(r"(\d{8}-\d{6})(?:-(\d+))?$", run.folder.name)
    return f"{found[1]}-{int(found[2] or 1):06}" if found else ""


def _order(row: Row) -> tuple:
    target = row.target
    key = (not target.rectified, target.p, target.calibrated, target.loc) if target else ()
    return (*row.section, target is None, key, row.first.cfg.method, row.first.cfg.name)


def _label(rows: list[Row]) -> None:
    for row in rows:
        row.label = row.first.description.label
    for same in _alike(rows, lambda row: (row.section, row.label, row.first.cfg.name)):
        for row, differs in zip(same, differences(same), strict=True):
            row.differs = differs
    for same in _alike(rows, lambda row: (row.section, row.label)):
        names = len({row.first.cfg.name for row in same}) > 1
        for row in same:
            extra = [str(row.first.cfg.name)] if names else []
            details = ", ".join(filter(None, [*extra, row.differs]))
            row.label = f"{row.label} ({details})" if details else row.label
    for same in _alike(rows, lambda row: (row.section, row.label)):
        for number, row in enumerate(same, start=1):
            row.label = f"{row.label} #{number}"


def _alike(rows: list[Row], key: Any) -> list[list[Row]]:
    groups: dict[Any, list[Row]] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return [same for same in groups.values() if len(same) > 1]


def _short(value: Any) -> str:
    text = "unset" if value is None else str(value)
    return text if len(text) <= 20 else f"{text[:17]}..."


def _flat(run: Run) -> dict[str, Any]:
    flat, todo = {}, [("", compared(run.cfg))]
    while todo:
        prefix, block = todo.pop()
        for key, value in block.items():
            if isinstance(value, dict):
                todo.append((f"{prefix}{key}.", value))
            else:
                flat[f"{prefix}{key}"] = value
    return {key: value for key, value in flat.items() if key != "seed"}
