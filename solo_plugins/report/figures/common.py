# SPDX-License-Identifier: MIT
"""What the report's pictures have in common."""

__all__ = [
    "OPEN", "Picture", "beside", "draw_points", "entry", "points", "title", "title_height",
    "without",
]  # fmt: skip

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from solo_plugins.pictures.style import Look, fill
from solo_plugins.report.rows import Row

_POINTS = 8  # of a panel's title
_LETTERS = 12  # of a panel's title, for each inch

# In the legend, what an open marker means: `online` or `training` in the tables.
OPEN = "open marker: active fraction measured during training (online)"


class Picture(NamedTuple):
    """What a picture function has drawn.

    Args:
        figures: by what is put behind the picture's name, which is empty if there is one figure;
            no figure if there is nothing to draw.
        notes: what is missing in them, as clauses.
    """

    figures: dict[str, Figure]
    notes: list[str]


def beside(width: float, least: float = 1.65) -> int:
    """Count the panels that a picture has room for beside each other.

    Args:
        width: of the picture, in inches.
        least: of a panel with its labels, likewise; by default of a small one.

    Returns:
        At least 2: a column of a paper is to have two.

    Example:
        >>> beside(6.8), beside(5.5), beside(3.3)
        (4, 3, 2)
    """
    return max(2, int(width / least))


def points(rows: Sequence[Row]) -> pd.DataFrame:
    """Tabulate the rows that have a finite active fraction.

    Args:
        rows: of one section.

    Returns:
        By row its ``name``, ``label``, ``series``, ``mu`` and ``target`` (NaN without one),
        ``active`` and its sample standard deviation ``active_std``, all in percent but ``mu``, and
        whether it was measured ``online``, by the run itself.
    """
    table = []
    for row in rows:
        active, target = row.mean("l0"), row.target
        loc, l0 = (target.loc, target.l0) if target else (np.nan, np.nan)
        percent = (100 * l0, 100 * active.value, 100 * active.std)
        table.append(
            (row.name, row.label, row.series, loc, *percent, active.mark in ("online", "training"))
        )
    columns = ["name", "label", "series", "mu"]
    columns += ["target", "active", "active_std", "online"]
    return pd.DataFrame(table, columns=columns).dropna(subset=["active"])


def draw_points(
    panel: Axes, part: pd.DataFrame, xy: tuple[str, str], look: Look, **errors: Any
) -> None:
    """Draw points of one series: filled, or open where the active fraction is an online one.

    Args:
        panel: where.
        part: a table as :func:`points` makes it.
        xy: the columns to draw.
        look: the series'.
        **errors: deviations ``xerr`` and ``yerr``; NaN draws none.
    """
    x, y = (part[name].to_numpy() for name in xy)
    panel.errorbar(
        x,
        y,
        fmt="none",
        ecolor=look.color,
        elinewidth=0.8,
        capsize=2,
        alpha=0.6,
        zorder=2,
        **errors,
    )
    for chosen, face in ((~part["online"], look.color), (part["online"], "white")):
        edge = "white" if face != "white" else look.color
        style: dict[str, Any] = {
            "markerfacecolor": face,
            "markeredgecolor": edge,
            "zorder": 4,
            "linestyle": "none",
        }
        if chosen.any():
            panel.plot(x[chosen], y[chosen], marker=look.marker, color=look.color, **style)


def entry(look: Look, *, line: bool = False, color: Any = None, **style: Any) -> Line2D:
    """Make a legend's handle.

    Args:
        look: what it stands for.
        line: whether there is a line through the marker.
        color: a shade in place of the look's colour.
        **style: settings of the line.
    """
    given = {
        "marker": look.marker,
        "markeredgecolor": "white",
        "linestyle": "-" if line else "none",
    }
    return Line2D([], [], color=look.color if color is None else color, **{**given, **style})


def title(panel: Axes, text: str, width: float) -> None:
    """Give a panel a title that is as wide as the panel at most.

    Args:
        panel: which one.
        text: any letters.
        width: of the panel, in inches.
    """
    panel.set_title(_wrapped(text, width), parse_math=False)


def title_height(texts: Iterable[str], width: float) -> float:
    """Compute how much higher than one line the highest of some titles is, in inches."""
    lines = max(_wrapped(text, width).count("\n") for text in texts)
    return lines * 1.2 * _POINTS / 72


def _wrapped(text: str, width: float) -> str:
    return fill(text, max(12, int(_LETTERS * width)))


def without(rows: Iterable[Row], shown: Iterable[str], reason: str) -> list[str]:
    """Say which rows are missing in a picture.

    Args:
        rows: all of them.
        shown: labels of those that are in it.
        reason: why the others are not, as a clause.
    """
    labels = set(shown)
    return [f"{row.label} {reason}" for row in rows if row.label not in labels]
