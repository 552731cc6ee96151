# SPDX-License-Identifier: MIT
"""Search with own images in a folder of embeddings."""

__all__ = ["BY", "Hit", "search"]

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import scipy.sparse
import torch

from solo_plugins.codes.embeddings import Embeddings
from solo_plugins.codes.search import Rows, keep_largest, nearest
from solo_plugins.data.images import read_image
from solo_plugins.errors import ConfigurationError, one_of
from solo_plugins.inference.encoder import Encoder, load

BY = ("codes", "features")


class Hit(NamedTuple):
    """A neighbour of an image.

    Args:
        query: the image's path.
        place: 1 for the nearest; 0 says that the image's code has no active output, so that it has
            no neighbours.
        similarity: the cosine.
        number: the neighbour's place in its data set, -1 without one.
        name: its path below the folder, if it is a file.
        class_name: the name of its class, if it has one.
    """

    query: str
    place: int
    similarity: float
    number: int
    name: str
    class_name: str


def search(
    folder: str | Path,
    images: Sequence[str],
    *,
    k: int = 5,
    by: str = "codes",
    m: int | None = None,
    run: str | None = None,
) -> list[Hit]:
    """Find the embeddings that are nearest to images, by the cosine.

    Args:
        folder: what ``solo_plugins embed`` has made.
        images: paths of image files.
        k: how many for each image.
        by: ``codes``, by sparse products, or ``features`` of the backbone, for comparison.
        m: to how many of its largest outputs each code is cut, or None.
        run: the network, if the checkpoint is not any more where it was.

    Returns:
        The neighbours of each image, nearest first.

    Raises:
        ConfigurationError: if something cannot be read, or `k` or `m` cannot be.
    """
    if by not in BY:
        raise one_of("by", by, BY)
    if m is not None and by != "codes":
        raise ConfigurationError(f"Expected `m` to be given with codes only but got {m}.")
    embeddings = Embeddings(Path(folder))
    rows: Rows = embeddings.codes if by == "codes" else embeddings.features
    if m is not None:
        rows = keep_largest(rows, m)
    pixels = [read_image(path) for path in images]
    encoder = load(run or embeddings.checkpoint)
    queries = _encode(encoder, pixels, by)
    found = nearest(rows, queries if m is None else keep_largest(queries, m), k)
    table, hits = embeddings.images, []
    for path, places, nearness in zip(images, found.places, found.similarity, strict=True):
        if places[0] < 0:
            hits.append(Hit(path, 0, 0.0, -1, "", ""))
            continue
        for place, (near, value) in enumerate(zip(places, nearness, strict=True), 1):
            row = table.iloc[near]
            hits.append(
                Hit(path, place, float(value), int(row["index"]), row["name"], row["class"])
            )
    return hits


@torch.no_grad()
def _encode(encoder: Encoder, pixels: Sequence, by: str) -> Rows:
    images = torch.stack([encoder.transform(image) for image in pixels])
    if by == "features":
        return encoder(images).numpy()
    return scipy.sparse.csr_matrix(encoder.encode(images).numpy())
