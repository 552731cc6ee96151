# SPDX-License-Identifier: MIT
"""The active fraction of trained outputs beside that of the target."""

__all__ = ["sparsity"]

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes

from solo_plugins.distributions import RectifiedGeneralizedGaussian
from solo_plugins.pictures.style import WIDTHS, Look, legend_below, panels
from solo_plugins.report.figures.common import (
    OPEN,
    Picture,
    draw_points,
    entry,
    points,
    title,
    without,
)
from solo_plugins.report.rows import Row

_DASHED: dict[str, Any] = {"linestyle": (0, (4, 2)), "zorder": 1.5}
_GREY = Look((0.35, 0.35, 0.35), "")


def sparsity(rows: Sequence[Row], looks: Mapping[str, Look], width: float) -> Picture:
    """Draw the measured active fraction over mu, and against the target active fraction.

    Targets are dashed, in closed form.

    Args:
        rows: of one section.
        looks: by series.
        width: of the picture, in inches.

    Returns:
        The picture.
    """
    ours = [row for row in rows if row.target is not None and row.target.rectified]
    shown = points(ours)
    if not len(shown):
        return Picture({}, ["skipped, no run of Rectified LpJEPA has a measured active fraction"])
    columns = max(1, round(width / WIDTHS["single"]))
    figure, (over_mu, against) = panels(2, width, columns=columns, height=2.3)
    entries: dict[str, Any] = {}
    highest = [shown["target"].max()]
    # a line that several series have is in the colour of none
    lines = [tuple(sorted(set(part["target"]))) for _, part in shown.groupby("series")]
    for series, part in shown.groupby("series", sort=False):
        look = looks[str(series)]
        part = part.sort_values("mu")
        alone = lines.count(tuple(sorted(set(part["target"])))) == 1
        for panel, x in ((over_mu, "mu"), (against, "target")):
            draw_points(panel, part, (x, "active"), look, yerr=part["active_std"])
        same = [row for row in ours if row.series == series and row.label in set(part["label"])]
        highest.append(_draw_targets(over_mu, same, look if alone else _GREY))
        entries[str(series)] = entry(look)
    against.axline((0, 0), slope=1, color=_GREY.color, **_DASHED)
    entries["dashed: target"] = entry(_GREY, linestyle=_DASHED["linestyle"])
    if shown["online"].any():
        entries[OPEN] = entry(
            _GREY._replace(marker="o"), markerfacecolor="w", markeredgecolor=_GREY.color
        )
    title(over_mu, "Over the target's location", width / columns)
    title(against, "Against the target", width / columns)
    over_mu.set_xlabel("location μ of the target")
    against.set(xlabel="active outputs of the target (%)", xlim=(0, 1.08 * shown["target"].max()))
    measured = (shown["active"] + shown["active_std"].fillna(0)).max()
    top = 1.08 * max(measured, *highest)
    for panel in (over_mu, against):
        panel.set(ylabel="active outputs (%)", ylim=(0, top))
    legend_below(figure, entries)
    return Picture({"": figure}, without(ours, shown["label"], "has no measured active fraction"))


def _draw_targets(panel: Axes, rows: Sequence[Row], look: Look) -> float:
    """Draw the target active fraction over mu: a curve if the rows have one scale.

    Returns:
        Its highest value, in percent.
    """
    targets = sorted((row.target for row in rows if row.target), key=lambda target: target.loc)
    loc, l0 = ([getattr(target, name) for target in targets] for name in ("loc", "l0"))
    around = 0.2 if len(set(loc)) == 1 else 0.0
    if len({(target.p, target.scale) for target in targets}) == 1:
        loc = list(np.linspace(loc[0] - around, loc[-1] + around, 100))
        law = RectifiedGeneralizedGaussian(torch.tensor(loc), targets[0].scale, targets[0].p)
        l0 = law.active_probability.tolist()
    panel.plot(loc, [100 * value for value in l0], color=look.color, **_DASHED)
    return 100 * max(l0)
