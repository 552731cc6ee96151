# SPDX-License-Identifier: MIT
"""Training curves: together while they are few, else a panel each."""

__all__ = ["PARTS", "curves"]

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, MaxNLocator

from solo_plugins.pictures.style import Look, legend_below, panels, shades
from solo_plugins.report.figures.common import Picture, beside, entry, title, title_height, without
from solo_plugins.report.rows import Row

_TOGETHER = 6  # lines that a panel shows legibly
_MOST = 24  # panels of a picture that a page has room for
_DASHES = (0, (4, 2))
_GREY = (0.35, 0.35, 0.35)
_BEHIND: dict[str, Any] = {"color": "0.85", "linewidth": 0.7, "zorder": 1}


class _Quantity(NamedTuple):
    """What is drawn over epochs.

    Args:
        key: behind the picture's name where each quantity has one of its own.
        name: in words, with the mark as tables have it.
        curve: the name of the logged values.
        unit: of the vertical axis.
        targets: whether rows with a target have it, or those without one, or both.
        comparable: whether values of two rows mean the same.
        log: whether the axis is logarithmic.
    """

    key: str
    name: str
    curve: str
    unit: str
    targets: tuple[bool, ...] = (True, False)
    comparable: bool = True
    log: bool = False


_ACCURACY = "top-1 accuracy (%)"
_ACTIVE = _Quantity("active", "Active outputs", "l0", "active outputs (%)")
_QUANTITIES = (
    _Quantity("loss", "Loss of Rectified LpJEPA", "loss", "loss (log scale)", (True,), log=True),
    _Quantity("losses", "Losses of the other methods", "loss", "loss (own units)", (False,), False),
    _Quantity("knn", "Backbone: kNN (online)", "knn", _ACCURACY),
    _Quantity("linear", "Backbone: linear probe (online)", "linear", _ACCURACY),
    _ACTIVE,
)
# What can be behind the picture's name.
PARTS = ("", *(f"-{quantity.key}" for quantity in _QUANTITIES))
# By label, the values by epoch from 1 on: their mean over seeds, and their deviation.
_Lines = dict[str, pd.DataFrame]
_BAND: dict[str, Any] = {"alpha": 0.18, "linewidth": 0}


class _Style(NamedTuple):
    """How a row is drawn: its series' marker, in a shade of the series' colour.

    Args:
        look: the series'.
        color: the shade.
        name: the row's, with its method.
        target: the target active fraction in percent, or None.
    """

    look: Look
    color: Any
    name: str
    target: float | None


def curves(rows: Sequence[Row], looks: Mapping[str, Look], width: float) -> Picture:
    """Draw loss, online accuracies and active fraction over epochs.

    Of several seeds the mean is shown, with a band of a standard deviation. Losses of different
    methods cannot be compared: those of the other methods have a panel of their own, each in its
    own unit. More than six lines are drawn in a panel each, over the others in grey, and each
    quantity is a figure of its own then.

    Args:
        rows: of one section.
        looks: by series.
        width: of the picture, in inches.

    Returns:
        The picture.
    """
    found = {quantity: _lines(rows, quantity) for quantity in _QUANTITIES}
    found = {quantity: lines for quantity, lines in found.items() if lines}
    if not found:
        return Picture({}, ["skipped, no run has a readable log"])
    labels = {label for lines in found.values() for label in lines}
    notes = without(rows, labels, "has no readable log")
    styles = _styles([row for row in rows if row.label in labels], looks)
    if max(map(len, found.values())) <= _TOGETHER:
        return Picture({"": _together(found, styles, width)}, notes)
    late = [label for label in styles if label not in list(styles)[:_MOST]]
    notes += [f"{label} is the {_MOST + 1}th or later panel" for label in late]
    figures = {
        f"-{quantity.key}": _apart(quantity, lines, styles, width)
        for quantity, lines in found.items()
    }
    return Picture(figures, notes)


def _lines(rows: Sequence[Row], quantity: _Quantity) -> _Lines:
    lines = {}
    for row in rows:
        logged = [run.curves[quantity.curve] for run in row.runs if quantity.curve in run.curves]
        if logged and (row.target is not None) in quantity.targets:
            # a seed that failed is not averaged away
            by_epoch = pd.concat(logged).groupby(level=0)
            mean = by_epoch.agg(lambda part: part.mean(skipna=False))
            line = pd.DataFrame({"mean": mean, "std": by_epoch.std()})
            lines[row.label] = (100 * line if quantity == _ACTIVE else line).rename(lambda i: i + 1)
    return lines


def _styles(rows: Sequence[Row], looks: Mapping[str, Look]) -> dict[str, _Style]:
    members: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        members[row.series].append(row)
    colors = {
        row.label: color
        for series, same in members.items()
        for row, color in zip(same, shades(looks[series].color, len(same)), strict=True)
    }
    return {
        row.label: _Style(
            looks[row.series],
            colors[row.label],
            row.name,
            100 * row.target.l0 if row.target is not None and row.target.rectified else None,
        )
        for row in rows
    }


def _together(
    found: Mapping[_Quantity, _Lines], styles: Mapping[str, _Style], width: float
) -> Figure:
    columns = 2 if len(found) == 4 else beside(width, 2.2)
    figure, axes = panels(len(found), width, columns=columns, height=1.8)
    for panel, (quantity, lines) in zip(axes, found.items(), strict=True):
        for label, line in lines.items():
            _draw(panel, line, styles[label])
        if quantity == _ACTIVE:
            _draw_targets(panel, [styles[label] for label in lines])
        title(panel, quantity.name, width / min(columns, len(found)))
        panel.set(xlabel="epoch", ylabel=quantity.unit)
        _scale(panel, quantity)
    entries = {
        style.name: entry(style.look, line=True, color=style.color) for style in styles.values()
    }
    if _ACTIVE in found and any(styles[label].target is not None for label in found[_ACTIVE]):
        entries["dashed: target"] = _dashed()
    legend_below(
        figure, {**entries, **_band(line for lines in found.values() for line in lines.values())}
    )
    return figure


def _apart(
    quantity: _Quantity, lines: _Lines, styles: Mapping[str, _Style], width: float
) -> Figure:
    shown = dict(list(lines.items())[:_MOST])
    columns = min(beside(width), len(shown))
    more = title_height((styles[label].name for label in shown), width / columns)
    figure, axes = panels(len(shown), width, columns=columns, height=1.25 + more)
    for number, panel in enumerate(axes[1:], start=1):
        panel.sharex(axes[0])
        if quantity.comparable:
            panel.sharey(axes[0])
            panel.tick_params(labelleft=number % columns == 0)
    _scale(axes[0], quantity)  # and so all that share its axes: sharing copies no logarithm
    for number, (panel, (label, line)) in enumerate(zip(axes, shown.items(), strict=True)):
        if quantity.comparable:
            for other in lines.values():
                panel.plot(other.index, other["mean"], **_BEHIND)
        _draw(panel, line, styles[label])
        if quantity == _ACTIVE:
            _draw_targets(panel, [styles[label]])
        title(panel, styles[label].name, width / columns)
        if number >= len(shown) - columns:
            panel.set_xlabel("epoch")
    same = quantity.unit.lower().startswith(quantity.name.lower())
    figure.supylabel(quantity.unit if same else f"{quantity.name}\n{quantity.unit}", fontsize=8)
    entries = {"grey: all others": entry(Look((0.8,) * 3, ""), line=True)}
    entries = entries if quantity.comparable else {}
    if quantity == _ACTIVE and any(styles[label].target is not None for label in shown):
        entries["dashed: target"] = _dashed()
    legend_below(figure, {**entries, **_band(shown.values())})
    return figure


def _draw(panel: Axes, line: pd.DataFrame, style: _Style) -> None:
    mean, std = line["mean"], line["std"]
    if std.notna().any():
        panel.fill_between(line.index, mean - std, mean + std, color=style.color, zorder=2, **_BAND)
    panel.plot(
        line.index, mean, color=style.color, marker=style.look.marker, markeredgecolor="white",
        markevery=max(1, len(line) // 6), zorder=3,
    )  # fmt: skip


def _draw_targets(panel: Axes, styles: Sequence[_Style]) -> None:
    """Draw each target once: in the colour of its row, in grey if several have it."""
    targets = [style.target for style in styles]
    for style in styles:
        if style.target is None or targets.index(style.target) != styles.index(style):
            continue
        color = style.color if targets.count(style.target) == 1 else _GREY
        panel.axhline(style.target, color=color, linestyle=_DASHES, linewidth=1, zorder=2)


def _scale(panel: Axes, quantity: _Quantity) -> None:
    panel.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True, min_n_ticks=1))
    if quantity.log:
        panel.set_yscale("log")
        panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.yaxis.set_major_formatter("{x:g}")
        panel.minorticks_off()


def _band(lines: Iterable[pd.DataFrame]) -> dict[str, Any]:
    # of a single epoch there is none to be seen
    if not any(line["std"].notna().sum() > 1 for line in lines):
        return {}
    return {"band: standard deviation over seeds": Patch(color="0.35", **_BAND)}


def _dashed() -> Any:
    return entry(Look(_GREY, ""), linestyle=_DASHES)
