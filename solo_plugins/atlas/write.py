# SPDX-License-Identifier: MIT
"""Writing an atlas: the page and two tables, in a folder that is there whole or not at all."""

__all__ = ["AtlasFiles", "write_atlas"]

import csv
import importlib.util
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from solo_plugins.atlas.describe import (
    ALWAYS_ON,
    CLASSES,
    DEAD,
    NEAR,
    OUTPUTS,
    Described,
    Output,
    Picture,
    describe,
)
from solo_plugins.atlas.page import Page, render
from solo_plugins.atlas.thumbnails import read_thumbnails
from solo_plugins.codes.embeddings import Embeddings
from solo_plugins.errors import ConfigurationError
from solo_plugins.runs.files import whole_folder
from solo_plugins.runs.writable import check_writable

PAGE, OUTPUTS_CSV, IMAGES_CSV = "atlas.html", "outputs.csv", "images.csv"
# Up to so many images all are on the page; of more, those in which an output is largest.
_ALL = 1000
_MOST_OUTPUTS = 2**14  # half a minute of one core


class AtlasFiles(NamedTuple):
    """What was written.

    Args:
        page: the page.
        size: its size in bytes.
        outputs: the number of outputs.
        dead: how many of them are never active.
        always_on: how many always are.
        shown: how many images are on the page.
        missing: how many of those could not be read again.
        reason: why, of the first one.
    """

    page: Path
    size: int
    outputs: int
    dead: int
    always_on: int
    shown: int
    missing: int
    reason: str


def write_atlas(
    folder: str | Path,
    out: str | Path | None = None,
    *,
    images: int = 8,
    root: str | None = None,
) -> AtlasFiles:
    """Write what each output means, see ``docs/using.md`` for the files.

    Args:
        folder: what ``solo_plugins embed`` has made.
        out: the folder, made whole or not at all; None makes ``atlas`` in `folder`.
        images: how many images an output has, positive.
        root: where the images lie, if not where they lay when embedded.

    Returns:
        What was written.

    Raises:
        ConfigurationError: if the embeddings cannot be used, hold no codes, `images` is not
            positive, the extra ``atlas`` is missing, or `out` holds something.
    """
    if images < 1:
        raise ConfigurationError(f"Expected `images` to be at least 1 but got {images}.")
    if importlib.util.find_spec("itables") is None:
        raise ConfigurationError(
            "Expected itables to be installed for the page's tables: "
            "pip install 'solo_plugins[atlas]'."
        )
    embeddings = Embeddings(Path(folder))
    target = Path(folder) / "atlas" if out is None else Path(out)
    check_writable(target, "out")
    if (outputs := embeddings.codes.shape[1]) > _MOST_OUTPUTS:
        raise ConfigurationError(
            f"Expected at most {_MOST_OUTPUTS:,} outputs, each of which has a place on the page, "
            f"but got {outputs:,}."
        )
    found = describe(embeddings, images)
    rows = _shown(found)
    with whole_folder(target) as part:
        _write_outputs(part / OUTPUTS_CSV, found, images)
        pictures = _write_images(part / IMAGES_CSV, found, rows)
        thumbnails = read_thumbnails(embeddings, rows, root)
        page = render(Page(embeddings, found, pictures, thumbnails))
        # a file's name may hold bytes that are no text
        (part / PAGE).write_bytes(page.encode(errors="replace"))
        size = (part / PAGE).stat().st_size
    marks = [output.mark for output in found.outputs]
    return AtlasFiles(
        target / PAGE,
        size,
        len(marks),
        marks.count(DEAD),
        marks.count(ALWAYS_ON),
        len(rows),
        len(thumbnails.missing),
        next(iter(thumbnails.missing.values()), ""),
    )


def _shown(found: Described) -> list[int]:
    if len(found.images) <= _ALL:
        return list(range(len(found.images)))
    return sorted({image.place for output in found.outputs for image in output.images})


def _write_outputs(path: Path, found: Described, images: int) -> None:
    header = [
        "output", "mark", "active_images", "activity", "mean", "largest", "mutual_information",
        *_numbered(CLASSES, "class", "lift", "activity_in_class"),
        *_numbered(images, "image", "value"),
        *_numbered(NEAR, "near", "jaccard"),
    ]  # fmt: skip
    index = found.images["index"].tolist()

    def cells(output: Output) -> list[Any]:
        pictures = [(index[image.place], image.value) for image in output.images]
        return [
            *output[:7],
            *_filled(output.classes, 3, CLASSES),
            *_filled(pictures, 2, images),
            *_filled(output.near, 2, NEAR),
        ]

    _write_csv(path, header, map(cells, found.outputs))


def _write_images(path: Path, found: Described, rows: list[int]) -> list[Picture]:
    """Write all images, and return those of some rows."""
    wanted, kept = set(rows), []

    def cells() -> Iterator[list[Any]]:
        for picture in found.pictures():
            if picture.row in wanted:
                kept.append(picture)
            yield [*picture[1:5], *_filled(picture.outputs, 2, OUTPUTS)]

    header = ["index", "name", "class", "active_outputs", *_numbered(OUTPUTS, "output", "value")]
    _write_csv(path, header, cells())
    return kept


def _numbered(count: int, *names: str) -> list[str]:
    return [f"{name}_{number}" for number in range(1, count + 1) for name in names]


def _filled(rows: Iterable[tuple], width: int, count: int) -> list[Any]:
    """Put rows one behind the other, with empty cells up to `count` rows."""
    cells = [cell for row in rows for cell in row]
    return cells + [""] * (width * count - len(cells))


def _write_csv(path: Path, header: list[str], rows: Iterable[list[Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
