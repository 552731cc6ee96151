# SPDX-License-Identifier: MIT
"""A picture of the outputs' distribution over the target's density."""

__all__ = ["outputs"]

import itertools
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from matplotlib.axes import Axes

from solo_plugins.distributions import RectifiedGeneralizedGaussian
from solo_plugins.report.rows import Row
from solo_plugins.report.style import COLORS, figure, legend, save

_MOST = 12  # panels that a screen shows legibly


def outputs(rows: Sequence[Row], path: Path) -> list[str]:
    """Draw the histogram of the outputs that are not zero over the target's density.

    The histogram's area is the measured share of active outputs, the density's that of the target,
    so that both are seen on one scale; the zeros are given in words. Of several seeds the lowest
    that has a histogram is shown.

    Args:
        rows: of one section.
        path: where the PNG goes.

    Returns:
        What the picture does without, and why.
    """
    ours = [row for row in rows if row.target is not None and row.target.rectified]
    having = [row for row in ours if _seed(row) is not None]
    if not having:
        return ["skipped, no run of Rectified LpJEPA has a histogram (main_knn.py makes it)"]
    notes = [f"{row.label} has no histogram" for row in ours if row not in having]
    notes += [f"{row.label} is the {_MOST + 1}th or later panel" for row in having[_MOST:]]
    having = having[:_MOST]
    columns = min(len(having), 4 if len(having) > 6 else 3)
    lines = math.ceil(len(having) / columns)
    made, panels = figure(lines, columns, (1.0 + 4.3 * columns, 1.4 + 3.4 * lines))
    for panel, row in zip(panels, having, strict=False):
        _draw(panel, row)
    for panel in panels[len(having) :]:
        panel.set_axis_off()
    for index in range(0, len(having), columns):
        panels[index].set_ylabel("density of all outputs (log scale)")
    for panel in panels[max(0, len(having) - columns) : len(having)]:
        panel.set_xlabel("value of an output")
    legend(made, panels)
    # one panel is too narrow for a line of this length
    gap = "\n" if columns == 1 else ": "
    title = f"Trained outputs over the target's density{gap}{' with '.join(rows[0].section)}"
    made.suptitle(title)
    save(made, path)
    return notes


def _seed(row: Row) -> int | None:
    for index, run in enumerate(row.runs):
        l0 = run.numbers.get("l0")
        if run.histogram and sum(run.histogram[1]) > 0 and l0 and math.isfinite(l0.value):
            return index
    return None


def _draw(panel: Axes, row: Row) -> None:
    run, target = row.runs[_seed(row) or 0], row.target
    assert run.histogram is not None
    assert target is not None
    edges, counts = run.histogram
    l0, total = run.numbers["l0"].value, sum(counts)
    widths = [right - left for left, right in itertools.pairwise(edges)]
    density = [l0 * n / total / width for n, width in zip(counts, widths, strict=True)]
    panel.stairs(density, edges, fill=True, color=COLORS[4], alpha=0.7, label="trained outputs")
    x = torch.linspace(max(edges[-1] / 1000, 1e-6), edges[-1], 400)
    law = RectifiedGeneralizedGaussian(target.loc, target.scale, target.p)
    height = law.log_prob(x).exp()
    panel.plot(x.tolist(), height.tolist(), color=COLORS[1], linewidth=2, label="target density")
    panel.set_yscale("log")
    seen = [value for value in (*density, *height.tolist()) if value > 0]
    panel.set_ylim(max(min(seen), 1e-5 * max(seen)) / 2, 8 * max(seen))
    panel.set_title(f"{row.label}, seed {run.cfg.seed}", fontsize=10)
    panel.text(
        0.97,
        0.95,
        f"zeros: {100 * (1 - l0):.1f} % trained,\n{100 * (1 - target.l0):.1f} % in the target",
        transform=panel.transAxes,
        ha="right",
        va="top",
        fontsize=9,
    )
