# SPDX-License-Identifier: MIT
"""Rows of the table: runs that differ in nothing but their seed are one row."""

__all__ = ["Mean", "Row", "group"]

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pandas as pd

from solo_plugins.pictures.style import typeset
from solo_plugins.report.read import MARKS, Number, RunRecord
from solo_plugins.report.search import LeftOut
from solo_plugins.runs.description import TargetDescription, method_name
from solo_plugins.untrusted.text import one_line

_LONGEST = 60
# What follows from the images of a folder says less than its name.
_FOLDER = "data.train_path"
_OF_A_FOLDER = re.compile(r"augmentations\[\d+\]\.(mean|std)|data\.(\w+_fingerprint|num_classes)")


class Mean(NamedTuple):
    """A value over seeds.

    Args:
        value: the mean, in the unit of the values; NaN if one of them is.
        std: the sample standard deviation (n - 1), NaN of a single value.
        n: how many seeds have it; 0 if it was not measured.
        mark: how it was measured, see :class:`~solo_plugins.report.read.Number`.
    """

    value: float = math.nan
    std: float = math.nan
    n: int = 0
    mark: str = ""


@dataclass
class Row:
    """Runs that differ in their seed only.

    Args:
        runs: at least one, by seed.
        label: a text that only this row of its section has, short enough for a legend.
        differs: settings in which it differs from rows that would look the same, or empty.
        suffix: what is put behind its method's name to tell it from those rows, or empty.
        series: what it is called together with the rows that differ from it in the location of
            their target only; the label if it has no target.
    """

    runs: list[RunRecord]
    label: str = ""
    differs: str = ""
    suffix: str = ""
    series: str = ""

    @property
    def first(self) -> RunRecord:
        """The run of the lowest seed."""
        return self.runs[0]

    @property
    def name(self) -> str:
        """The label with the method's name before it, where it is not there."""
        method = typeset(method_name(str(self.first.cfg.method)))
        return self.label if self.label.startswith(method) else f"{method}, {self.label}"

    @property
    def target(self) -> TargetDescription | None:
        """The target of all of its runs."""
        return self.first.description.target

    @property
    def section(self) -> tuple[str, str]:
        """Data set and backbone: only rows that share them are compared."""
        cfg = self.first.cfg
        return one_line(cfg.data.dataset, _LONGEST), one_line(cfg.backbone.name, _LONGEST)

    @property
    def config_name(self) -> str:
        """What the configuration of its first run calls itself."""
        return one_line(self.first.cfg.name, _LONGEST)

    def mean(self, column: str) -> Mean:
        """Average a measured value over seeds.

        Args:
            column: its name.

        Returns:
            Mean and deviation of the seeds that have it, measured in the best way that any has.
        """
        found = [run.numbers[column] for run in self.runs if column in run.numbers]
        numbers = pd.DataFrame(found, columns=list(Number._fields))
        for mark in MARKS:
            values = numbers["value"][numbers["mark"] == mark]
            if len(values):
                std = values.std(skipna=False)
                return Mean(values.mean(skipna=False), std, len(values), mark)
        return Mean()


def group(runs: Iterable[RunRecord]) -> tuple[list[Row], list[LeftOut]]:
    """Make rows of runs.

    Args:
        runs: in any order.

    Returns:
        The rows, Rectified LpJEPA by p and mu, then the other methods by name, and the runs that
        repeat another one of the same configuration and seed: the last of these is shown, by the
        time in the folder's name, so that it does not count twice.
    """
    ordered = sorted(runs, key=lambda run: (_stamp(run), str(run.folder)))
    keys = [(run.identity("seed"), run.cfg.seed) for run in ordered]
    frame = pd.DataFrame(keys, columns=["identity", "seed"]).assign(run=ordered)
    rows, left_out = [], []
    for _, same in frame.groupby("identity", sort=False):
        latest = same.drop_duplicates("seed", keep="last").set_index("seed")["run"]
        rows.append(Row(list(latest.sort_index())))
        for run in set(same["run"]) - set(latest):
            reason = f"same configuration and seed as {latest[run.cfg.seed].folder}, which is later"
            left_out.append(LeftOut(str(run.folder), reason))
    rows.sort(key=_order)
    _label(rows)
    _name_series(rows)
    return rows, sorted(left_out)


def _stamp(run: RunRecord) -> str:
    found = re.search(r"(\d{8}-\d{6})(?:-(\d+))?$", run.folder.name)
    return f"{found[1]}-{int(found[2] or 1):06}" if found else ""


def _order(row: Row) -> tuple:
    target = row.target
    key = (not target.rectified, target.p, target.calibrated, target.loc) if target else ()
    return (*row.section, target is None, key, str(row.first.cfg.method), row.config_name)


def _label(rows: list[Row]) -> None:
    """Give every row of a section a label of its own."""
    for row in rows:
        row.label = typeset(method_name(row.first.description.label))
    for same in _alike(rows, lambda row: (row.section, row.label, row.config_name)):
        for row, differs in zip(same, _differences(same), strict=True):
            row.differs = differs
    for same in _alike(rows, lambda row: (row.section, row.label)):
        names = [typeset(row.config_name) for row in same]
        names = names if len(set(names)) > 1 else [""] * len(same)
        details = zip(names, (row.differs for row in same), strict=True)
        suffixes = _suffixes([", ".join(filter(None, detail)) for detail in details])
        for row, suffix in zip(same, suffixes, strict=True):
            row.suffix = suffix
            row.label += suffix


def _name_series(rows: list[Row]) -> None:
    """Give every series of a section a name of its own."""
    for row in rows:
        row.series = typeset(str(row.first.description.series)) if row.target else row.label
    for same in _alike(rows, lambda row: (row.section, row.series)):
        shifts = {key for row in same if row.target for key in row.target.location_settings}
        series: dict[str, list[Row]] = defaultdict(list)
        for row in same:
            series[row.first.identity("seed", "name", *shifts)].append(row)
        details = _differences([members[0] for members in series.values()], "name", *shifts)
        for members, suffix in zip(series.values(), _suffixes(details), strict=True):
            for row in members:
                row.series += suffix


def _suffixes(details: list[str]) -> list[str]:
    """Tell equal names apart by details, and by numbers where the details are equal too."""
    return [
        (f" ({detail})" if detail else "")
        + (f" #{details[:index].count(detail) + 1}" if details.count(detail) > 1 else "")
        for index, detail in enumerate(details)
    ]


def _differences(rows: Sequence[Row], *but: str) -> list[str]:
    """Name at most two settings in which rows differ, first those that a person looks for first.

    Args:
        rows: rows that would have the same name.
        but: dotted keys that are left out.

    Returns:
        For each row its settings, as they were typed, with dots behind them if there are more.
    """
    settings = [row.first.settings for row in rows]
    keys = {key for one in settings for key in one if not key.startswith("enable_")}
    differ = [
        key
        for key in keys - {"seed", *but}
        if any((one.get(key) or None) != (settings[0].get(key) or None) for one in settings)
    ]
    typed = [row.first.typed for row in rows]
    # a rate that was scaled by another batch size was not typed: it says nothing more
    told = [key for key in differ if any(one.get(key) != typed[0].get(key) for one in typed)]
    differ = told or differ
    found = [key for key in differ if _OF_A_FOLDER.match(key)]
    if found and len({one.get(_FOLDER) for one in typed}) > 1:
        differ = [_FOLDER, *(key for key in differ if key not in found)]
    given = typed if told or _FOLDER in differ else settings
    differ.sort(
        key=lambda key: (
            key not in ("max_epochs", _FOLDER),
            not key.startswith("method_kwargs."),
            key,
        )
    )
    more = ["..."] if len(differ) > 2 else []
    shown = [(one_line(key.rpartition(".")[2], _LONGEST), key) for key in differ[:2]]
    return [
        typeset(", ".join([*(f"{name}={_short(one.get(key))}" for name, key in shown), *more]))
        for one in given
    ]


def _alike(rows: list[Row], key: Callable[[Row], Any]) -> list[list[Row]]:
    groups: dict[Any, list[Row]] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return [same for same in groups.values() if len(same) > 1]


def _short(value: Any) -> str:
    if isinstance(value, float):
        text = f"{value:.6g}"
    else:
        text = "unset" if value is None else one_line(value, 1000)
    return text if len(text) <= 20 else f"{text[:17]}..."
