# SPDX-License-Identifier: MIT
"""Pictures of sparsity: what it costs in accuracy, and whether it is the one that was asked for."""

__all__ = ["pareto", "sparsity"]

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

from solo_plugins.report.rows import Mean, Row
from solo_plugins.report.style import COLORS, MARKERS, by_p, figure, legend, save

_OURS = ("o", "s", "^", "D", "v")  # one for each series of Rectified LpJEPA
# Where a series' labels are, in points and from which side: lines fall, and two are not to meet.
_PLACES = (((-7, -13), "right"), ((7, 6), "left"), ((7, -13), "left"), ((-7, 7), "right"))
# The first of these that most rows have is shown, in the way that most rows have it measured.
_ACCURACIES = {
    "backbone": [
        ("linear_backbone", "", "linear probe on the backbone"),
        ("knn_backbone", "", "kNN (k = 20) on the backbone"),
        ("knn_backbone", "online", "online kNN on the backbone"),
        ("online_backbone", "online", "online linear probe on the backbone"),
    ],
    "projector": [
        ("linear_projector", "", "linear probe on the projector"),
        ("knn_projector", "", "kNN (k = 20) on the projector"),
        ("online_projector", "online", "online linear probe on the projector"),
    ],
}


def pareto(rows: Sequence[Row], path: Path) -> list[str]:
    """Draw accuracy against the share of outputs that are zero.

    Rectified LpJEPA is a line over mu for each p, other methods are points. All points of a panel
    show one measurement: linear probe, else kNN, else those of training, whichever most rows have.

    Args:
        rows: of one section.
        path: where the PNG goes.

    Returns:
        What the picture does without, and why.
    """
    shown, notes = [], []
    for features, choices in _ACCURACIES.items():
        column, mark, name = max(choices, key=lambda choice: _coverage(rows, choice))
        points = {id(row): point for row in rows if (point := _point(row, column, mark))}
        if points:
            shown.append((features, name, points))
            notes += [
                f"{row.label} has no share of zeros or no {name}"
                for row in rows
                if id(row) not in points
            ]
    if not shown:
        return ["skipped, no run has both an accuracy and a share of zero outputs"]
    made, panels = figure(1, len(shown), (1.5 + 5.2 * len(shown), 5.0))
    for panel, (features, name, points) in zip(panels, shown, strict=True):
        _draw_points(panel, rows, points)
        panel.set_title(f"{features.capitalize()} features")
        panel.set_xlabel("share of projector outputs that are zero (%)")
        panel.set_ylabel(f"top-1 accuracy (%)\n{name}")
    legend(made, panels)
    made.suptitle(f"Accuracy against sparsity: {' with '.join(rows[0].section)}")
    save(made, path)
    return notes


def sparsity(rows: Sequence[Row], path: Path) -> list[str]:
    """Draw the measured share of active outputs over mu, and against the target's.

    Args:
        rows: of one section.
        path: where the PNG goes.

    Returns:
        What the picture does without, and why.
    """
    ours = [row for row in rows if row.target is not None and row.target.rectified]
    having = [row for row in ours if _finite(row.mean("l0"))]
    if not having:
        return ["skipped, no run of Rectified LpJEPA has a measured share of active outputs"]
    made, (over_mu, against) = figure(1, 2, (12, 5))
    for index, (label, members) in enumerate(by_p(having)):
        color, marker = COLORS[index % len(COLORS)], _OURS[index % len(_OURS)]
        locs = [row.target.loc for row in members if row.target]
        means = [mean for row in members if (mean := row.mean("l0"))]
        style: dict[str, Any] = {"color": color, "marker": marker, "ls": "none", "capsize": 3}
        values, errors = _percent(means)
        over_mu.errorbar(locs, values, errors, label=f"{label}, trained", **style)
        targets = [100 * row.target.l0 for row in members if row.target]
        over_mu.plot(locs, targets, color=color)
        against.errorbar(targets, values, errors, **style)
    over_mu.plot([], color="black", label="target in closed form, colour as the points")
    against.axline((0, 0), slope=1, color="0.4", linestyle="--", label="trained = asked for")
    top = 100 * max(1e-2, *(mean.value for row in having if (mean := row.mean("l0"))))
    top = min(104, 1.1 * max(top, *(100 * row.target.l0 for row in having if row.target)))
    against.set(xlim=(0, top), ylim=(0, top), xlabel="active outputs of the target (%)")
    against.set_title("Trained against asked for")
    over_mu.set_xlabel("location μ of the target (unit of the outputs)")
    over_mu.set_title("Over the target's location")
    over_mu.set_ylim(bottom=0)
    for panel in (over_mu, against):
        panel.set_ylabel("active outputs after training (%)")
    legend(made, (over_mu, against))
    made.suptitle(f"Active share of the outputs: {' with '.join(rows[0].section)}")
    save(made, path)
    return [f"{row.label} has no measured l0" for row in ours if row not in having]


def _coverage(rows: Sequence[Row], choice: tuple[str, str, str]) -> int:
    return sum(_point(row, choice[0], choice[1]) is not None for row in rows)


def _point(row: Row, column: str, mark: str) -> tuple[Mean, Mean] | None:
    zeros, accuracy = row.mean("l0"), row.mean(column)
    if not _finite(zeros) or not _finite(accuracy) or accuracy is None or accuracy.mark != mark:
        return None
    assert zeros is not None
    return zeros._replace(value=1 - zeros.value), accuracy


def _draw_points(panel: Axes, rows: Sequence[Row], points: dict[int, tuple[Mean, Mean]]) -> None:
    series = by_p([row for row in rows if row.target is not None])
    others = [(row.label, [row]) for row in rows if row.target is None]
    for index, (label, every) in enumerate([*series, *others]):
        members = [row for row in every if id(row) in points]
        if not members:
            continue
        color, ours = COLORS[index % len(COLORS)], index < len(series)
        marker = _OURS[index % len(_OURS)] if ours else MARKERS[index % len(MARKERS)]
        x, y, xerr, yerr = _columns(points, members)
        panel.errorbar(x, y, yerr, xerr, fmt="none", ecolor=color, capsize=3)
        look: dict[str, Any] = {"mec": "white", "mew": 0.7, "ms": 8 if ours else 9, "color": color}
        line = "-" if ours else "none"
        panel.plot(x, y, linestyle=line, marker=marker, label=label, **look)
        for row, place in zip(members, zip(x, y, strict=True), strict=True):
            if row.target is not None:
                _annotate(panel, f"μ={row.target.loc:.3g}", place, index, color)
    panel.margins(0.1)


def _annotate(panel: Axes, text: str, place: tuple[float, float], series: int, color: str) -> None:
    halo = [withStroke(linewidth=3, foreground="white")]
    offset, side = _PLACES[series % len(_PLACES)]
    style: dict[str, Any] = {"color": color, "fontsize": 9, "path_effects": halo}
    panel.annotate(text, place, offset, textcoords="offset points", ha=side, **style)


def _columns(points: dict[int, tuple[Mean, Mean]], rows: Sequence[Row]) -> tuple[list[float], ...]:
    pairs = [points[id(row)] for row in rows]
    return (
        [100 * zeros.value for zeros, _ in pairs],
        [accuracy.value for _, accuracy in pairs],
        [100 * (zeros.std or 0) for zeros, _ in pairs],
        [accuracy.std or 0 for _, accuracy in pairs],
    )


def _percent(means: Sequence[Mean]) -> tuple[list[float], list[float]]:
    return [100 * mean.value for mean in means], [100 * (mean.std or 0) for mean in means]


def _finite(mean: Mean | None) -> bool:
    return mean is not None and math.isfinite(mean.value)
