# SPDX-License-Identifier: MIT
"""Each output and each image of a folder of embeddings, in numbers and names."""

__all__ = ["ALWAYS_ON", "DEAD", "Active", "Described", "Liked", "Output", "Picture", "describe"]

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse

from solo_plugins.codes.embeddings import Embeddings
from solo_plugins.codes.ranking import Ranked
from solo_plugins.codes.statistics import activity, coactive, explain, preferences, strongest
from solo_plugins.errors import ConfigurationError

DEAD, ALWAYS_ON = "dead", "always on"
# How many classes and neighbours an output has at most, and outputs an image.
CLASSES, NEAR, OUTPUTS = 5, 8, 8


class Active(NamedTuple):
    """A number beside an output or an image.

    Args:
        place: the output, or the row of the image.
        value: the code's value; of two outputs, Jaccard's measure of their images.
    """

    place: int
    value: float


class Liked(NamedTuple):
    """A class on which an output is active more often than on others.

    Args:
        name: the class.
        lift: P(active | class) / P(active), above 1.
        fraction: P(active | class).
    """

    name: str
    lift: float
    fraction: float


class Output(NamedTuple):
    """One output.

    Args:
        number: its place in the code.
        mark: ``dead`` if it is never active, ``always on`` if it always is, or an empty string.
        active_images: the number of images in which it is active.
        activity: that number over the number of all images.
        mean: its mean over all images.
        largest: its largest value of those that are not zero, 0 if there are none.
        information: mutual information of activity and class, in bits; None without labels.
        classes: those it prefers, the largest lift first.
        images: those in which it is largest, in order.
        near: the outputs that are active together with it, in order.
    """

    number: int
    mark: str
    active_images: int
    activity: float
    mean: float
    largest: float
    information: float | None
    classes: list[Liked]
    images: list[Active]
    near: list[Active]


class Picture(NamedTuple):
    """One image.

    Args:
        row: its row in the embeddings.
        number: its place in the data set.
        name: its path below the folder, if it is a file.
        kind: its class, if it has one.
        active_outputs: the number of outputs that are active in it.
        outputs: those that explain it, see :func:`~solo_plugins.codes.statistics.explain`.
    """

    row: int
    number: int
    name: str
    kind: str
    active_outputs: int
    outputs: list[Active]


class Described(NamedTuple):
    """All outputs, and what images are asked for with.

    Args:
        outputs: one for each of the D outputs.
        codes: the codes (N, D).
        images: the table of images, with each class's name.
        labelled: whether any image has a label.
    """

    outputs: list[Output]
    codes: scipy.sparse.csr_matrix
    images: pd.DataFrame
    labelled: bool

    def pictures(self) -> Iterator[Picture]:
        """Yield all images in order."""
        codes, table = self.codes, self.images
        columns = zip(
            range(codes.shape[0]),
            table["index"],
            table["name"],
            table["class"],
            np.diff(codes.indptr),
            (row for part in explain(codes, OUTPUTS) for row in _pairs(part)),
            strict=True,
        )
        for row, index, name, kind, active, outputs in columns:
            yield Picture(row, int(index), name, kind, int(active), outputs)


def describe(embeddings: Embeddings, images: int) -> Described:
    """Describe all outputs.

    Args:
        embeddings: with codes.
        images: how many images an output has at most, positive.

    Returns:
        What was found.

    Raises:
        ConfigurationError: if there are no codes or images, or they do not fit together.
    """
    codes, table = _checked(embeddings)
    labels = table["label"].to_numpy()
    name_of = dict(zip(labels.tolist(), table["class"], strict=True))
    found, liking = activity(codes), preferences(codes, labels)
    labelled = len(liking.labels) > 0
    names = [name_of[label] for label in liking.labels.tolist()]
    top, near = _pairs(strongest(codes, images)), _pairs(coactive(codes, NEAR))
    outputs = [
        Output(
            number,
            _mark(int(found.images[number]), codes.shape[0]),
            active_images=found.images[number].item(),
            activity=found.fraction[number].item(),
            mean=found.mean[number].item(),
            largest=found.largest[number].item(),
            information=liking.information[number].item() if labelled else None,
            classes=_liked(names, liking.lift[number], liking.fraction[number]),
            images=pictures,
            near=others,
        )
        for number, (pictures, others) in enumerate(zip(top, near, strict=True))
    ]
    return Described(outputs, codes, table, labelled)


def _checked(embeddings: Embeddings) -> tuple[scipy.sparse.csr_matrix, pd.DataFrame]:
    """Read codes without stored zeros, and the table of images with a name for each class."""
    codes, table = scipy.sparse.csr_matrix(embeddings.codes), embeddings.images.copy()
    if 0 in codes.shape:
        raise ConfigurationError(
            f"Expected at least one code in {str(embeddings.folder)!r} but got codes of shape "
            f"{codes.shape}."
        )
    if not np.isfinite(codes.data).all():
        raise ConfigurationError(
            f"Expected finite codes in {str(embeddings.folder)!r} but got NaN or infinite ones."
        )
    codes.sum_duplicates()
    codes.eliminate_zeros()
    numbers = table["label"].astype(str).where(table["label"] >= 0, "")
    table["class"] = table["class"].where(table["class"] != "", numbers)
    return codes, table


def _mark(images: int, total: int) -> str:
    return {0: DEAD, total: ALWAYS_ON}.get(images, "")


def _liked(names: list[str], lift: np.ndarray, fraction: np.ndarray) -> list[Liked]:
    order = np.argsort(-lift, kind="stable")[:CLASSES]  # NaN comes last
    # an output that is always on has a lift of 1 but for rounding
    return [
        Liked(names[place], lift[place].item(), fraction[place].item())
        for place in order
        if lift[place] > 1 + 1e-9
    ]


def _pairs(ranked: Ranked) -> list[list[Active]]:
    """Turn ranks into lists of what there is."""
    rows = zip(ranked.places.tolist(), ranked.values.tolist(), strict=True)
    return [
        [Active(place, value) for place, value in zip(*row, strict=True) if place >= 0]
        for row in rows
    ]
