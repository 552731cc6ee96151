# SPDX-License-Identifier: MIT
"""What all pictures share: colours that colour-blind people tell apart, and how one is saved."""

__all__ = ["COLORS", "MARKERS", "by_p", "figure", "legend", "save"]

import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from solo_plugins.report.rows import Row, differences

# Okabe and Ito (2008), https://jfly.uni-koeln.de/color/, without yellow, which is too pale on white
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
# Baselines are told apart by their shape too.
MARKERS = ("P", "X", "*", "h", "<", ">", "p", "d", "D", "v", "^", "s")


def figure(rows: int, columns: int, size: tuple[float, float]) -> tuple[Figure, list[Axes]]:
    """Make a figure that no other part of the program knows of.

    Args:
        rows: of panels.
        columns: of panels.
        size: width and height in inches.

    Returns:
        The figure and its panels, row by row.
    """
    made = Figure(figsize=size, layout="constrained")
    panels = list(made.subplots(rows, columns, squeeze=False).flat)
    for panel in panels:
        panel.grid(color="0.9", linewidth=0.8)
        panel.set_axisbelow(True)
        panel.spines[["top", "right"]].set_visible(False)
    return made, panels


def legend(made: Figure, panels: Sequence[Axes]) -> None:
    """Put one legend below all panels.

    Args:
        made: the figure; it grows by the legend's height.
        panels: whose curves are listed, each label once.
    """
    handles = {h.get_label(): h for panel in panels for h in panel.get_legend_handles_labels()[0]}
    width, height = made.get_size_inches()
    longest = max(len(str(label)) for label in handles)
    columns = max(1, min(4, int(width / (0.6 + 0.085 * longest))))
    lines = math.ceil(len(handles) / columns)
    made.set_size_inches(width, height + 0.21 * lines)
    made.legend(handles=list(handles.values()), loc="outside lower center", ncols=columns)


def save(made: Figure, path: Path) -> None:
    """Write a PNG.

    Args:
        made: the figure.
        path: where to.
    """
    made.savefig(path, dpi=150)


def by_p(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    """Collect rows that differ in the location of their target only, to be connected by a line.

    Args:
        rows: of any methods.

    Returns:
        A label and the rows, by location, of each series.
    """
    series: dict[str, list[Row]] = {}
    for row in rows:
        if row.target is not None:
            key = row.first.identity("seed", "name", *row.target.location_settings)
            series.setdefault(key, []).append(row)
    for members in series.values():
        members.sort(key=lambda row: row.target.loc if row.target else math.nan)
    named: dict[str, list[list[Row]]] = {}
    for members in series.values():
        named.setdefault(str(members[0].first.description.series), []).append(members)
    every = []
    for label, alike in named.items():
        firsts = [members[0] for members in alike]
        shifts = [key for row in firsts if row.target for key in row.target.location_settings]
        details = differences(firsts, *shifts) if len(alike) > 1 else [""]
        every += [
            (f"{label} ({detail})" if detail else label, members)
            for detail, members in zip(details, alike, strict=True)
        ]
    return every
