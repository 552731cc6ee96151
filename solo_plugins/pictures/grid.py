# SPDX-License-Identifier: MIT
"""Images in rows: queries, and what was found for each."""

__all__ = ["Cell", "draw_grid"]

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from PIL import Image

from solo_plugins.pictures.style import theme

_LONGEST = 18


class Cell(NamedTuple):
    """A place of the grid.

    Args:
        image: the image, or None for an empty place.
        text: what stands above it.
    """

    image: Image.Image | None
    text: str = ""


def draw_grid(rows: Sequence[Sequence[Cell]]) -> Figure:
    """Draw rows of images; the first of each is the query and has a frame.

    Args:
        rows: of any lengths, at least one that is not empty.

    Returns:
        The figure.
    """
    width = max(len(row) for row in rows)
    with theme():
        figure, axes = plt.subplots(
            len(rows), width, figsize=(1.3 * width, 1.5 * len(rows)), squeeze=False,
            layout="constrained",
        )  # fmt: skip
        for places, row in zip(axes, rows, strict=True):
            for number, place in enumerate(places):
                cell = row[number] if number < len(row) else Cell(None)
                place.set(xticks=[], yticks=[])
                place.grid(visible=False)
                # a dollar sign would begin a formula
                place.set_title(_short(cell.text), fontsize=7, parse_math=False)
                if cell.image is not None:
                    place.imshow(cell.image.convert("RGB"), interpolation="nearest")
                for spine in place.spines.values():
                    spine.set(visible=number == 0, color="0.2", linewidth=2)
    return figure


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
