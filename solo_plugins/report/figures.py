# SPDX-License-Identifier: MIT
"""The report's pictures."""

__all__ = ["Picture", "curves", "outputs", "pareto", "sparsity"]

import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
import torch
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from matplotlib.ticker import LogLocator, MaxNLocator
from matplotlib.transforms import Bbox

from solo_plugins.distributions import RectifiedGeneralizedGaussian
from solo_plugins.pictures.style import PANELS, colors, finish
from solo_plugins.report.read import RunRecord
from solo_plugins.report.rows import Row

# The panels, or None if there is nothing to draw; and what is missing in them, as clauses.
Picture = tuple[sns.FacetGrid | None, list[str]]

_MOST = 12  # panels that a screen shows legibly
# What is measured, how, and its name: the one that most rows have is shown, of several the first.
_MEASURES = (
    ("linear", "", "linear probe"),
    ("knn", "", "kNN (k = 20)"),
    ("knn", "online", "online kNN"),
    ("online", "online", "online linear probe"),
)
# Where a point's label may stand, in font sizes from the point; the first are tried first.
_SIDES = [(far * x, far * y) for far in (0.7, 2) for x in (1, -1, 0) for y in (1, -1, 0) if x or y]
# Panels of the training curves: title, quantity, unit, and whether the rows in it have a target.
_CURVES = (
    ("Loss of Rectified LpJEPA", "loss", "loss (log scale)", {True}),
    ("Losses of the other methods", "loss", "loss, each method's own", {False}),
    ("Online kNN on the backbone", "knn", "top-1 accuracy (%)", {True, False}),
    ("Online linear probe on the backbone", "linear", "top-1 accuracy (%)", {True, False}),
    ("Active projector outputs", "l0", "active outputs (%)", {True, False}),
)


def pareto(rows: Sequence[Row]) -> Picture:
    """Draw accuracy against the fraction of outputs that are zero.

    Rectified LpJEPA is a line over mu for each p, other methods are points. All points of a panel
    show one measurement: linear probe, else kNN, else those of training, whichever most rows have.

    Args:
        rows: of one section.

    Returns:
        The picture.
    """
    panels, notes = {}, []
    for features in ("backbone", "projector"):
        every = {
            f"{name} on the {features}": _points(rows, f"{column}_{features}", mark)
            for column, mark, name in _MEASURES
        }
        name = max(every, key=lambda name: len(every[name]))
        if len(every[name]):
            panels[f"{features.capitalize()} features"] = every[name].assign(name=name)
            notes += _without(rows, every[name], f"has no fraction of zeros or no {name}")
    if not panels:
        return None, [
            "skipped, no run has both an accuracy and a fraction of outputs that are zero"
        ]
    palette = colors(row.series for row in rows)
    grid = sns.relplot(
        pd.concat(panels, names=["panel"]).reset_index("panel"), kind="line", x="zeros", y="value",
        col="panel", hue="series", style="series", palette=palette, markers=True, dashes=False,
        markersize=9, estimator=None, sort=False, aspect=1.2, facet_kws=PANELS,
    )  # fmt: skip
    grid.set_titles("{col_name}").set_xlabels("fraction of projector outputs that are zero (%)")
    for title, panel in grid.axes_dict.items():
        _add_deviations(panel, panels[title], "zeros", "value", xerr=panels[title]["active_std"])
        panel.margins(0.1)
        panel.set_ylabel(f"top-1 accuracy (%)\n{panels[title]['name'].iloc[0]}")
    finish(grid, f"Accuracy against sparsity: {' with '.join(rows[0].section)}")
    for title, panel in grid.axes_dict.items():
        _label_points(panel, panels[title], palette)
    return grid, notes


def sparsity(rows: Sequence[Row]) -> Picture:
    """Draw the measured active fraction over mu, and against the target active fraction.

    Args:
        rows: of one section.

    Returns:
        The picture.
    """
    ours = [row for row in rows if row.target is not None and row.target.rectified]
    points = _points(rows, "l0")
    points = points[points["label"].isin([row.label for row in ours])]
    if not len(points):
        return None, ["skipped, no run of Rectified LpJEPA has a measured active fraction"]
    palette = colors(row.series for row in rows)
    grid = sns.relplot(
        points.melt(["series", "active"], ["mu", "target"], "panel", "x"), kind="scatter", x="x",
        y="active", col="panel", hue="series", style="series", palette=palette, s=80, zorder=3,
        aspect=1.2, facet_kws=PANELS,
    )  # fmt: skip
    over_mu, against = grid.axes.flat
    for panel, x in ((over_mu, "mu"), (against, "target")):
        _add_deviations(panel, points, x, "active")
        panel.set_ylim(0)
    line = {"marker": "_", "markersize": 20, "markeredgewidth": 2}
    for series, part in points.groupby("series"):
        over_mu.plot(part["mu"], part["target"], color=palette[series], **line)
    over_mu.set_title("Over the target's location (lines: target in closed form)")
    over_mu.set_xlabel("location μ of the target (unit of the outputs)")
    against.axline((0, 0), slope=1, color="0.4", linestyle="--")
    against.set_title("Trained against target (dashed: trained = target)")
    against.set(xlabel="active outputs of the target (%)", xlim=(0, None))
    grid.set_ylabels("active outputs after training (%)")
    finish(grid, f"Active fraction of the outputs: {' with '.join(rows[0].section)}")
    return grid, _without(ours, points, "has no measured l0")


def outputs(rows: Sequence[Row]) -> Picture:
    """Draw the histogram of the outputs that are not zero over the target's density.

    The histogram's area is the measured active fraction, the density's that of the target, so that
    both are seen on one scale; the zeros are given in words. Of several seeds the lowest that has a
    histogram is shown.

    Args:
        rows: of one section.

    Returns:
        The picture.
    """
    ours = [row for row in rows if row.target is not None and row.target.rectified]
    runs = pd.DataFrame({"label": [row.label for row in ours]})
    runs = runs.assign(run=[next(filter(_has_histogram, row.runs), None) for row in ours]).dropna()
    if not len(runs):
        return None, ["skipped, no run of Rectified LpJEPA has a histogram (main_knn.py makes it)"]
    shown, more = runs[:_MOST], runs[_MOST:]
    notes = _without(ours, runs, "has no histogram")
    notes += [f"{label} is the {_MOST + 1}th or later panel" for label in more["label"]]
    grid = sns.FacetGrid(
        shown, col="label", col_wrap=min(3, len(shown)), height=4, aspect=1.2, **PANELS
    )
    for panel, label, run in zip(grid.axes.flat, shown["label"], shown["run"], strict=True):
        _draw_outputs(panel, label, run)
    grid.set_axis_labels("value of an output", "density of all outputs (log scale)")
    handles, labels = grid.axes.flat[0].get_legend_handles_labels()
    grid.add_legend(dict(zip(labels, handles, strict=True)))
    finish(grid, f"Trained outputs over the target's density\n{' with '.join(rows[0].section)}")
    return grid, notes


def curves(rows: Sequence[Row]) -> Picture:
    """Draw loss, online accuracies and active fraction over epochs.

    Of several seeds the mean is shown. Losses of different methods cannot be compared: those of the
    other methods have a panel of their own, each in its own unit.

    Args:
        rows: of one section.

    Returns:
        The picture.
    """
    logged = {
        (title, unit, row.label, run.cfg.seed): run.curves[quantity]
        for title, quantity, unit, targets in _CURVES
        for row in rows
        for run in row.runs
        if quantity in run.curves and (row.target is not None) in targets
    }
    if not logged:
        return None, ["skipped, no run has a readable log"]
    every = pd.concat(logged, names=["panel", "unit", "label", "seed"])
    means = every.groupby(["panel", "unit", "label", "epoch"], sort=False)
    means = means.agg(lambda values: values.mean(skipna=False)).rename("value").reset_index()
    means["epoch"] += 1
    means.loc[means["unit"] == "active outputs (%)", "value"] *= 100
    units = dict(zip(means["panel"], means["unit"], strict=True))
    labels = [row.label for row in rows if row.label in set(means["label"])]
    # Colours repeat after eight.
    dashes = {label: (4, 2) if index > 7 else "" for index, label in enumerate(labels)}
    grid = sns.relplot(
        means, kind="line", x="epoch", y="value", hue="label", style="label", hue_order=labels,
        style_order=labels, palette=colors(labels), dashes=dashes, errorbar=None, markers=True,
        markevery=means["epoch"].max() // 10 + 1, col="panel", facet_kws=PANELS,
        col_wrap={1: 1, 2: 2, 4: 2}.get(len(units), 3), height=4, aspect=1.2,
    )  # fmt: skip
    grid.set_titles("{col_name}")
    for title, panel in grid.axes_dict.items():
        panel.set_ylabel(units[title])
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        if "log scale" in units[title]:
            panel.set_yscale("log")
            panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            panel.yaxis.set_major_formatter("{x:g}")
            panel.minorticks_off()
    finish(grid, f"Training: {' with '.join(rows[0].section)}")
    return grid, _without(rows, means, "has no readable log")


def _points(rows: Sequence[Row], column: str, mark: str | None = None) -> pd.DataFrame:
    """Return the rows that have a finite l0, and a finite value that is measured in this way."""
    points = []
    for row in rows:
        active, mean, target = row.mean("l0"), row.mean(column), row.target
        loc, l0 = (target.loc, target.l0) if target else (np.nan, np.nan)
        percent = (100 * (1 - active.value), 100 * active.value, 100 * active.std, 100 * l0)
        points.append((row.label, row.series, loc, *percent, mean.value, mean.std, mean.mark))
    names = "label series mu zeros active active_std target value value_std mark"
    frame = pd.DataFrame(points, columns=names.split()).dropna(subset=["active", "value"])
    return frame if mark is None else frame[frame["mark"] == mark]


def _without(rows: Iterable[Row], shown: pd.DataFrame, reason: str) -> list[str]:
    labels = set(shown["label"])
    return [f"{row.label} {reason}" for row in rows if row.label not in labels]


def _add_deviations(panel: Axes, points: pd.DataFrame, x: str, y: str, **errors: Any) -> None:
    look: dict[str, Any] = {"fmt": "none", "ecolor": "0.5", "capsize": 3, "zorder": 1}
    panel.errorbar(points[x], points[y], points[f"{y}_std"], **errors, **look)


def _label_points(panel: Axes, points: pd.DataFrame, palette: dict[str, Any]) -> None:
    """Write mu beside the points, on the side that covers the fewest points and other labels."""
    panel.figure.canvas.draw()
    places = panel.transData.transform(points[["zeros", "value"]].to_numpy())
    taken = [Bbox.from_extents(*place, *place).padded(6) for place in places]
    halo = [withStroke(linewidth=3, foreground="white")]
    for point in points[points["mu"].notna()].itertuples():
        look = {"color": palette[point.series], "size": "small", "textcoords": "offset fontsize"}
        place = (point.zeros, point.value)
        text = panel.annotate(f"μ={point.mu:.3g}", place, (0, 0), path_effects=halo, **look)

        def covered(side: tuple[float, float], text: Any = text) -> int:
            ha, va = (int(np.sign(offset)) for offset in side)
            text.set(ha=("center", "left", "right")[ha], va=("center", "bottom", "top")[va])
            text.set_position(side)
            box = text.get_window_extent()
            outside = box.x0 < panel.bbox.x0 or box.x1 > panel.bbox.x1
            return box.count_overlaps(taken) + len(taken) * outside

        covered(min(_SIDES, key=covered))
        taken.append(text.get_window_extent())


def _has_histogram(run: RunRecord) -> bool:
    l0 = run.numbers.get("l0")
    return l0 is not None and l0.value > 0 and run.histogram is not None and any(run.histogram[1])


def _draw_outputs(panel: Axes, label: str, run: RunRecord) -> None:
    target = run.description.target
    assert run.histogram is not None
    assert target is not None
    edges, counts = map(np.array, run.histogram)
    active = run.numbers["l0"].value
    density = active * counts / counts.sum() / np.diff(edges)
    panel.stairs(density, edges, fill=True, alpha=0.5, label="trained outputs")
    x = torch.linspace(max(edges[-1] / 1000, 1e-6), edges[-1], 400)
    law = RectifiedGeneralizedGaussian(target.loc, target.scale, target.p)
    height = law.log_prob(x).exp()
    panel.plot(x.numpy(), height.numpy(), color="C1", linewidth=2, label="target density")
    panel.set(yscale="log", ylim=(density[density > 0].min() / 2, None))
    panel.yaxis.set_major_formatter("{x:g}")
    panel.minorticks_off()
    name = textwrap.fill(f"{label}, seed {run.cfg.seed}", 45)
    zeros = f"{100 * (1 - active):.1f} % trained, {100 * (1 - target.l0):.1f} % in the target"
    panel.set_title(f"{name}\nzeros: {zeros}")
