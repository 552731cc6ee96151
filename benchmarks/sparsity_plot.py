# SPDX-License-Identifier: MIT
"""Draws what benchmarks/sparsity_control.py has printed.

    python benchmarks/sparsity_control.py > table.txt
    python benchmarks/sparsity_plot.py table.txt sparsity.png

On the left the active fraction on held-out images over its target, on the right the
accuracy of nearest neighbours in the projector's outputs, for each variant and p.
"""

import argparse
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from matplotlib import pyplot as plt

from solo_plugins.pictures.style import WIDTHS, looks, theme

MARKERS = ("o", "s", "^", "D", "v")


class Point(NamedTuple):
    """A line of the table."""

    target: float
    achieved: float
    projector: float


def read(path: Path) -> dict[tuple[str, float], list[Point]]:
    """Read the table, by variant and p."""
    series = defaultdict(list)
    for line in path.read_text().splitlines():
        fields = line.split()
        if len(fields) == 11 and fields[4] == "+-":
            p, target, achieved, projector = (float(fields[i]) for i in (0, 1, 3, 8))
            series[fields[2], p].append(Point(target, achieved, projector))
    if not series:
        raise SystemExit(f"Expected {str(path)!r} to hold the benchmark's table but it has no row.")
    return {key: sorted(points) for key, points in series.items()}


def draw(series: dict[tuple[str, float], list[Point]], path: Path) -> None:
    """Draw both panels."""
    variants = list(dict.fromkeys(variant for variant, _ in series))
    exponents = sorted({p for _, p in series})
    palette = looks(variants)
    made, (left, right) = plt.subplots(1, 2, figsize=(WIDTHS["double"], 3), layout="constrained")
    ticks = sorted({point.target for points in series.values() for point in points})
    left.plot(ticks, ticks, color="0.4", linestyle="--", label="achieved = target")
    for (variant, p), points in series.items():
        look = {
            "color": palette[variant].color,
            "marker": MARKERS[exponents.index(p) % len(MARKERS)],
            "label": f"{variant}, p = {p:g}",
            "linewidth": 1.2,
            "markersize": 5,
        }
        x = [point.target for point in points]
        left.plot(x, [point.achieved for point in points], **look)
        right.plot(x, [point.projector for point in points], **look)
    left.set_yscale("logit")
    left.set_ylabel("active outputs on held-out images (%)")
    left.set_yticks(ticks, [f"{100 * tick:g}" for tick in ticks])
    right.set_ylabel("kNN accuracy on projector outputs (%)")
    for panel in (left, right):
        panel.set_xscale("logit")
        panel.set_xticks(ticks, [f"{100 * tick:g}" for tick in ticks])
        panel.set_xlabel("target active fraction (%)")
        panel.minorticks_off()
    made.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    made.savefig(path)


def main() -> None:
    """Read a table and write a picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path, help="what the benchmark printed")
    parser.add_argument("picture", type=Path, help="a PNG to write")
    args = parser.parse_args()
    with theme():
        draw(read(args.table), args.picture)


if __name__ == "__main__":
    main()
