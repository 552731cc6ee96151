# SPDX-License-Identifier: MIT
"""The look that all pictures share."""

__all__ = ["PANELS", "colors", "finish", "picture_kind", "theme"]

import itertools
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import seaborn as sns
from matplotlib import pyplot as plt

from solo_plugins.errors import one_of

# For grids: every panel has axes of its own, and the legend takes no room from them.
PANELS: dict[str, Any] = {"sharex": False, "sharey": False, "legend_out": False}

_KINDS = ("png", "pdf", "svg")


@contextmanager
def theme() -> Iterator[None]:
    """Draw in the report's look, and leave no open figure and no changed setting behind.

    Yields:
        None. Figures that were made inside stay usable, but pyplot has forgotten them.
    """
    before = set(plt.get_fignums())
    with mpl.rc_context():
        # Colour codes belong to matplotlib as a whole and would stay changed.
        # No text is a formula: a run may be called anything.
        look = {"savefig.dpi": 150, "grid.color": "0.9", "text.parse_math": False}
        sns.set_theme(style="whitegrid", palette="colorblind", color_codes=False, rc=look)
        try:
            yield
        finally:
            for number in set(plt.get_fignums()) - before:
                plt.close(number)


def colors(names: Iterable[str]) -> dict[str, Any]:
    """Give names colours that colour-blind people tell apart.

    Args:
        names: in the order of the legend; a repeated one counts once.

    Returns:
        A colour by name. After eight, which leaves out a yellow that is pale on white, they repeat.
    """
    eight = itertools.cycle(sns.color_palette("colorblind", 8))
    return dict(zip(dict.fromkeys(names), eight, strict=False))


def finish(grid: sns.FacetGrid, title: str) -> None:
    """Give a picture its title, and put its legend below the panels.

    Args:
        grid: the panels, with a legend anywhere.
        title: of the whole picture.
    """
    sns.move_legend(grid, "upper center", bbox_to_anchor=(0.5, 0), ncol=2, title=None)
    grid.figure.suptitle(title)
    grid.tight_layout()


def picture_kind(path: Path, setting: str) -> str:
    """Find out the kind of a picture from its name.

    Args:
        path: a file.
        setting: which setting or option names it.

    Returns:
        png, pdf or svg.

    Raises:
        ConfigurationError: if it is none of these.
    """
    kind = path.suffix.lower().removeprefix(".")
    if kind not in _KINDS:
        raise one_of(setting, str(path), [f"a name that ends with .{kind}" for kind in _KINDS])
    return kind
