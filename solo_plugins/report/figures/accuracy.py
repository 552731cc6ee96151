# SPDX-License-Identifier: MIT
"""Accuracy against sparsity."""

__all__ = ["pareto"]

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from matplotlib.transforms import Bbox

from solo_plugins.pictures.style import WIDTHS, Look, legend_below, panels, typeset
from solo_plugins.report.figures.common import (
    OPEN,
    Picture,
    draw_points,
    entry,
    points,
    title,
    without,
)
from solo_plugins.report.measures import most_measured
from solo_plugins.report.rows import Row

# Of a panel's accuracies, in points: how far apart its ends are at least, and its highest end.
_LEAST, _MOST = 2.0, 100.5
_NEAR = 0.06  # of a panel's width: what is nearer is one place
# Where a point's label may stand, in font sizes from the point; the first are tried first.
_SIDES = [(far * x, far * y) for far in (0.7, 2) for x in (1, -1, 0) for y in (1, -1, 0) if x or y]


def pareto(rows: Sequence[Row], looks: Mapping[str, Look], width: float) -> Picture:
    """Draw accuracy against the active fraction of outputs.

    Rectified LpJEPA is a line over mu for each p, other methods are points. All points of a panel
    show one measurement: linear probe, else kNN, else those of training, whichever most rows have.

    Args:
        rows: of one section.
        looks: by series.
        width: of the picture, in inches.

    Returns:
        The picture.
    """
    found = {}
    sparse = points(rows)
    known = [row for row in rows if row.label in set(sparse["label"])]
    reason = "has no fraction of active outputs, which `main_knn.py` measures"
    notes = without(rows, sparse["label"], reason)
    for features in ("backbone", "projector"):
        measure = most_measured(known, features)
        if measure is None:
            continue
        means = {row.label: measure.of(row, features) for row in known}
        values = [(mean.value, mean.std) if mean else (np.nan,) * 2 for mean in means.values()]
        shown = sparse.assign(
            **dict(zip(("value", "value_std"), np.transpose(values), strict=True))
        )
        shown = shown.dropna(subset=["value"])
        found[f"{features.capitalize()}: {measure.name}"] = shown
        reason = f"has no {measure.name} on the {features}"
        notes += without(known, shown["label"], reason)
    if not found:
        return Picture(
            {}, ["skipped, no run has both an accuracy and a fraction of active outputs"]
        )
    columns = max(1, round(width / WIDTHS["single"]))
    figure, axes = panels(len(found), width, columns=columns, height=2.4)
    for panel, (name, part) in zip(axes, found.items(), strict=True):
        _draw(panel, part, looks)
        title(panel, name, width / min(columns, len(found)))
        panel.set(xlabel="active outputs of the projector (%)", ylabel="top-1 accuracy (%)")
    legend_below(figure, _entries(pd.concat(found.values()), looks))
    figure.draw_without_rendering()  # the layout, by which labels find their place
    for panel, part in zip(axes, found.values(), strict=True):
        _label_points(panel, part, looks)
    return Picture({"": figure}, notes)


def _draw(panel: Axes, shown: pd.DataFrame, looks: Mapping[str, Look]) -> None:
    for series, part in shown.groupby("series", sort=False):
        look = looks[str(series)]
        panel.plot(part["active"], part["value"], color=look.color, zorder=3)
        errors = {"xerr": part["active_std"], "yerr": part["value_std"]}
        draw_points(panel, part, ("active", "value"), look, **errors)
    panel.margins(0.1)
    # A tenth of a point is not to look like a mountain.
    low, high = panel.get_ylim()
    room = max(0, _LEAST - (high - low)) / 2
    panel.set_ylim(max(low - room, 0), min(high + room, _MOST))


def _entries(shown: pd.DataFrame, looks: Mapping[str, Look]) -> dict[str, Any]:
    entries: dict[str, Any] = {}
    for series, look in looks.items():
        part = shown[shown["series"] == series]
        if len(part):
            alone = part["mu"].nunique() == 1  # its only point has no label
            entries[part["name"].iloc[0] if alone else series] = entry(
                look, line=part["label"].nunique() > 1
            )
    if shown["online"].any():
        entries[OPEN] = entry(
            Look((0.3, 0.3, 0.3), "o"), markerfacecolor="w", markeredgecolor="0.3"
        )
    return entries


def _label_points(panel: Axes, shown: pd.DataFrame, looks: Mapping[str, Look]) -> None:
    """Write mu beside points of lines, where it covers the fewest points, lines and labels."""
    places = panel.transData.transform(shown[["active", "value"]].to_numpy())
    font = panel.figure.dpi * 8 / 72
    taken = [Bbox.from_extents(*place, *place).padded(font / 2) for place in places]
    lines = shown[shown.groupby("series")["mu"].transform("nunique") > 1]
    near = _NEAR * np.ptp(panel.get_xlim())
    for mu, same in lines.groupby(lines["mu"].map("{:.3g}".format)):
        same = same.sort_values("active")
        # of lines that have their points at one place, the highest stands for all
        for _, part in same.groupby((same["active"].diff() > near).cumsum()):
            point = part.loc[part["value"].idxmax()]
            color = looks[point["series"]].color if len(part) == 1 else "0.25"
            place = (point["active"], point["value"])
            taken.append(_label(panel, typeset(f"μ={mu}"), place, color, taken))


def _label(
    panel: Axes, name: str, place: tuple[float, float], color: Any, taken: Sequence[Bbox]
) -> Bbox:
    """Write a label beside a place, and return what it covers."""
    text = panel.annotate(
        name, place, (0, 0), color=color, fontsize=7, zorder=5, textcoords="offset fontsize",
        annotation_clip=False, path_effects=[withStroke(linewidth=2, foreground="white")],
    )  # fmt: skip
    # it belongs to its point: the panel's size does not depend on it
    text.set_in_layout(False)

    drawn = [line.get_transform().transform_path(line.get_path()) for line in panel.lines]

    def covered(side: tuple[float, float]) -> int:
        ha, va = (int(np.sign(offset)) for offset in side)
        text.set(ha=("center", "left", "right")[ha], va=("center", "bottom", "top")[va])
        text.set_position(side)
        box = text.get_window_extent()
        outside = not (panel.bbox.x0 <= box.x0 and box.x1 <= panel.bbox.x1)
        outside |= not (panel.bbox.y0 <= box.y0 and box.y1 <= panel.bbox.y1)
        crossed = sum(path.intersects_bbox(box, filled=False) for path in drawn)
        hidden = len(taken) if outside else box.count_overlaps(list(taken))
        return hidden * (len(drawn) + 1) + crossed  # any line rather than a point or a label

    covered(min(_SIDES, key=covered))
    return text.get_window_extent()
