# SPDX-License-Identifier: MIT
"""A picture of a search: each query with its neighbours."""

__all__ = ["write_picture"]

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from PIL import Image

from solo_plugins.atlas.thumbnails import read_again
from solo_plugins.codes.embeddings import Embeddings
from solo_plugins.data.images import read_image
from solo_plugins.inference.query import Hit
from solo_plugins.pictures.grid import Cell, draw_grid
from solo_plugins.pictures.style import picture_kind
from solo_plugins.runs.files import write_bytes
from solo_plugins.untrusted.text import one_line

_SIDE = 256  # in pixels


def write_picture(folder: str | Path, hits: Sequence[Hit], path: str | Path) -> tuple[str, ...]:
    """Draw what a search has found, a row for each query.

    Args:
        folder: the embeddings that were searched.
        hits: what the search gave.
        path: the picture, a png, pdf or svg.

    Returns:
        Why images are left out, each reason once.

    Raises:
        ConfigurationError: if the file's name has another ending, or it cannot be written.
    """
    kind = picture_kind(Path(path), "picture")
    embeddings = Embeddings(Path(folder))
    table = embeddings.images
    place = {key: row for row, key in enumerate(zip(table["index"], table["name"], strict=True))}
    rows = {hit: place[hit.number, hit.name] for hit in hits if hit.place}
    images, missing = read_again(embeddings, sorted(set(rows.values())), _shown)
    grid = []
    for query, found in groupby(hits, key=lambda hit: hit.query):
        cells = [Cell(_shown(read_image(query)), one_line(Path(query).name))]
        for hit in found:
            if hit.place:
                name = one_line(hit.class_name or hit.name)
                cells.append(Cell(images.get(rows[hit]), f"{name}: {hit.similarity:.2f}"))
            else:
                cells.append(Cell(None, "no active output"))
        grid.append(cells)
    figure = draw_grid(grid)
    write_bytes(Path(path), lambda file: figure.savefig(file, format=kind))
    return tuple(dict.fromkeys(missing.values()))


def _shown(image: Image.Image) -> Image.Image:
    """Keep the pixels that a cell has room for, the same of queries and of what was found."""
    image = image.convert("RGB")
    image.thumbnail((_SIDE, _SIDE))
    return image
