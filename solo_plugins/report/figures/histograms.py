# SPDX-License-Identifier: MIT
"""Histograms of trained outputs over the density of their target."""

__all__ = ["outputs"]

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from solo_plugins.distributions import RectifiedGeneralizedGaussian
from solo_plugins.pictures.style import Look, legend_below, panels
from solo_plugins.report.figures.common import Picture, beside, title, title_height, without
from solo_plugins.report.read import RunRecord
from solo_plugins.report.rows import Row

_MOST = 12  # panels that a page shows legibly
_TARGET: dict[str, Any] = {"color": "0.15", "linestyle": (0, (4, 2)), "linewidth": 1.2}


def outputs(rows: Sequence[Row], looks: Mapping[str, Look], width: float) -> Picture:
    """Draw the histogram of the outputs that are not zero over the target's density.

    The histogram's area is the measured active fraction, the density's that of the target, so that
    both are seen on one scale; both fractions are given in words. Of several seeds the lowest that
    has a histogram is shown.

    Args:
        rows: of one section.
        looks: by series.
        width: of the picture, in inches.

    Returns:
        The picture.
    """
    ours = [row for row in rows if row.target is not None and row.target.rectified]
    chosen = [(row, run) for row in ours for run in filter(_has_histogram, row.runs)]
    first = {row.label: (row, run) for row, run in reversed(chosen)}
    every = [first[row.label] for row in ours if row.label in first]
    if not every:
        return Picture(
            {}, ["skipped, no run of Rectified LpJEPA has a histogram (main_knn.py makes it)"]
        )
    notes = without(ours, first, "has no histogram")
    notes += [f"{row.label} is the {_MOST + 1}th or later panel" for row, _ in every[_MOST:]]
    shown = every[:_MOST]
    columns = min(len(shown), beside(width))
    # no line ends within "seed 5"
    titles = [f"{row.label}, seed\xa0{run.cfg.seed}" for row, run in shown]
    height = (2.0 if len(shown) <= 2 else 1.35) + title_height(titles, width / columns)
    figure, axes = panels(len(shown), width, columns=columns, height=height)
    for number, (panel, (row, run)) in enumerate(zip(axes, shown, strict=True)):
        _draw(panel, run, looks[row.series])
        title(panel, titles[number], width / columns)
        if number >= len(shown) - columns:
            panel.set_xlabel("value of an output")
        if number % columns == 0:
            panel.set_ylabel("density (log)")
    entries = {
        "trained outputs, in the colour of their method": Patch(color="0.6"),
        "dashed: density of the target": Line2D([], [], **_TARGET),
    }
    legend_below(figure, entries)
    return Picture({"": figure}, notes)


def _has_histogram(run: RunRecord) -> bool:
    l0 = run.numbers.get("l0")
    return l0 is not None and l0.value > 0 and run.histogram is not None and any(run.histogram[1])


def _draw(panel: Axes, run: RunRecord, look: Look) -> None:
    target = run.description.target
    assert run.histogram is not None
    assert target is not None
    edges, counts = map(np.array, run.histogram)
    active = run.numbers["l0"].value
    density = active * counts / counts.sum() / np.diff(edges)
    panel.stairs(density, edges, fill=True, alpha=0.5, color=look.color)
    x = torch.linspace(max(edges[-1] / 1000, 1e-6), edges[-1], 400)
    law = RectifiedGeneralizedGaussian(target.loc, target.scale, target.p)
    panel.plot(x.numpy(), law.log_prob(x).exp().numpy(), **_TARGET)
    panel.set(yscale="log", ylim=(density[density > 0].min() / 2, None))
    panel.yaxis.set_major_formatter("{x:g}")
    panel.minorticks_off()
    panel.minorticks_off()
    panel.text(
        0.97, 0.95, f"active {100 * active:.1f} %\ntarget {100 * target.l0:.1f} %",
        transform=panel.transAxes, ha="right", va="top", fontsize=7,
        bbox={"facecolor": "white", "alpha": 0.7, "edgecolor": "none", "pad": 1},
    )  # fmt: skip
