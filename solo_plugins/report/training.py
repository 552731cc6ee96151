# SPDX-License-Identifier: MIT
"""A picture of the training curves."""

__all__ = ["curves"]

import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, ScalarFormatter

from solo_plugins.report.curves import Curves
from solo_plugins.report.rows import Row
from solo_plugins.report.style import COLORS, MARKERS, figure, legend, save

_STYLES = ("-", "--", ":", "-.")


def curves(rows: Sequence[Row], path: Path) -> list[str]:
    """Draw loss, online accuracies and share of active outputs over epochs.

    Of several seeds the mean is shown. Losses of different methods cannot be compared: those of the
    other methods have a panel of their own, each in its own unit.

    Args:
        rows: of one section.
        path: where the PNG goes.

    Returns:
        What the picture does without, and why.
    """
    logged = {id(row): row.curves() for row in rows}
    having = [row for row in rows if logged[id(row)]]
    if not having:
        return ["skipped, no run has a readable log"]
    panels = [
        ("Loss of Rectified LpJEPA", "loss", "loss", True),
        ("Losses of the other methods", "loss", "loss, each method's own", False),
        ("Online kNN on the backbone", "knn", "top-1 accuracy (%)", None),
        ("Online linear probe on the backbone", "linear", "top-1 accuracy (%)", None),
        ("Active projector outputs", "l0", "active outputs (%)", None),
    ]
    drawn = []
    for title, quantity, unit, ours in panels:
        members = [
            row
            for row in having
            if quantity in logged[id(row)] and ours in (None, row.target is not None)
        ]
        if members:
            drawn.append((title, quantity, unit, members))
    columns = 2 if len(drawn) == 4 else min(3, len(drawn))
    lines = math.ceil(len(drawn) / columns)
    made, axes = figure(lines, columns, (1 + 4.6 * columns, 0.8 + 3.5 * lines))
    for axis in axes[len(drawn) :]:
        axis.set_axis_off()
    for axis, (title, quantity, unit, members) in zip(axes, drawn, strict=False):
        for row in members:
            _draw(axis, row, logged[id(row)], quantity, rows.index(row))
        axis.set(title=title, xlabel="epoch", ylabel=unit)
        if title.startswith("Loss of"):
            axis.set(yscale="log", ylabel="loss (log scale)")
            axis.yaxis.set_major_formatter(ScalarFormatter())
            axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
            axis.yaxis.set_minor_formatter(NullFormatter())
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend(made, axes)
    made.suptitle(f"Training: {' with '.join(rows[0].section)}")
    save(made, path)
    return [f"{row.label} has no readable log" for row in rows if row not in having]


def _draw(axis: Axes, row: Row, logged: Curves, quantity: str, index: int) -> None:
    curve = logged[quantity]
    epochs = [epoch + 1 for epoch in curve]
    factor = 100 if quantity == "l0" else 1
    axis.plot(
        epochs,
        [factor * value for value in curve.values()],
        color=COLORS[index % len(COLORS)],
        linestyle=_STYLES[index // len(COLORS) % len(_STYLES)],
        marker=MARKERS[index % len(MARKERS)] if len(epochs) < 20 else None,
        markersize=6,
        label=row.label,
    )
