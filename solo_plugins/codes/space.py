# SPDX-License-Identifier: MIT
"""A picture of embeddings in a plane."""

__all__ = ["SpacePicture", "write_space"]

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from solo_plugins.codes.embeddings import Embeddings
from solo_plugins.errors import ConfigurationError
from solo_plugins.pictures.space import METHODS, check_umap, draw_planes, plane, some
from solo_plugins.pictures.style import picture_kind
from solo_plugins.runs.files import write_bytes, write_text
from solo_plugins.runs.writable import check_writable
from solo_plugins.untrusted.text import one_line

_LONGEST = 40


class SpacePicture(NamedTuple):
    """What was written.

    Args:
        picture: the picture.
        table: the coordinates of its points, a CSV.
        images: how many images are shown.
        of: how many there are.
    """

    picture: Path
    table: Path
    images: int
    of: int


def write_space(
    folder: str | Path,
    out: str | Path | None = None,
    *,
    methods: Sequence[str] = METHODS,
    most: int = 5000,
    seed: int = 0,
) -> SpacePicture:
    """Draw backbone features and projector outputs in a plane, coloured by class.

    Args:
        folder: what ``solo_plugins embed`` has made.
        out: the picture, a png, pdf or svg; by default ``space.png`` in `folder`. Coordinates go
            beside it, into a CSV of the same name.
        methods: ``pca``, ``umap`` or both.
        most: images that are shown at most, evenly spaced ones.
        seed: of UMAP and of PCA's solver.

    Returns:
        What was written.

    Raises:
        ConfigurationError: if the folder holds no embeddings, umap-learn is missing, or a setting
            cannot work.
    """
    picture = Path(folder) / "space.png" if out is None else Path(out)
    kind = picture_kind(picture, "out")
    if most < 4:
        raise ConfigurationError(f"Expected `images` to be at least 4 but got {most}.")
    if "umap" in methods:
        check_umap("UMAP (--pca draws PCA alone)")
    embeddings = Embeddings(Path(folder))
    check_writable(picture.parent, "out")
    rows = {"backbone": embeddings.features}
    if embeddings.meta.get("outputs"):
        rows["projector"] = embeddings.codes
    chosen = some(len(embeddings.images), most)
    planes = {
        (space, method): plane(found[chosen], method, seed=seed)
        for space, found in rows.items()
        for method in methods
    }
    shown = embeddings.images.iloc[chosen]
    table = shown.reset_index(drop=True).assign(
        **{
            f"{space}_{method}_{axis}": points[:, number]
            for (space, method), points in planes.items()
            for number, axis in enumerate("xy")
        }
    )
    name, total = os.path.basename(os.path.abspath(folder)), len(embeddings.images)
    title = f"{len(shown)} of {total} images in {name!r}"
    classes = [one_line(name, _LONGEST) for name in shown["class"]]
    figure = draw_planes(planes, classes, one_line(title))
    write_bytes(picture, lambda file: figure.savefig(file, format=kind))
    write_text(picture.with_suffix(".csv"), _csv(table))
    return SpacePicture(picture, picture.with_suffix(".csv"), len(shown), len(embeddings.images))


def _csv(table: pd.DataFrame) -> str:
    return table.to_csv(index=False, float_format="%.6g")
