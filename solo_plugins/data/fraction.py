# SPDX-License-Identifier: MIT
"""A part of a data set's images, a fraction or some of each class: the same in every run."""

__all__ = ["Part", "keep_fraction", "training_part"]

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from omegaconf import DictConfig

from solo_plugins.errors import ConfigurationError

# solo-learn main's
_DRAW = 42


@dataclass(frozen=True)
class Part:
    """How many of the training images there are to be.

    Args:
        shots: images of each class, positive; None for as many as there are.
        fraction: of all images, each class alike, between 0 and 1; None for all. One of the two
            is None at least.

    Raises:
        ConfigurationError: if one is of another kind or range, or both are given.

    Example:
        >>> Part(shots=1).places([7, 7, 8, 8, 8], draw=0).tolist()
        [0, 2]
        >>> str(Part.parse("10")), str(Part.parse("all")), str(Part.parse("5%"))
        ('10', 'all', '5%')
    """

    shots: int | None = None
    fraction: float | None = None

    def __post_init__(self) -> None:
        shots, fraction = self.shots, self.fraction
        if shots is not None and (type(shots) is not int or shots < 1):
            raise ConfigurationError(
                f"Expected `data.shots` to be a positive integer, images of each class, but got "
                f"{shots!r}."
            )
        if fraction is not None and (type(fraction) is not float or not 0 < fraction < 1):
            raise ConfigurationError(
                f"Expected `data.fraction` to be between 0 and 1 but got {fraction!r}."
            )
        if shots is not None and fraction is not None:
            raise ConfigurationError(
                f"Expected `data.shots` or `data.fraction` to be set but got both, {shots} and "
                f"{fraction}."
            )

    @classmethod
    def parse(cls, text: str) -> "Part":
        """Read a part as it stands in a list of them.

        Args:
            text: a positive integer, a percentage as ``5%``, or ``all``.

        Returns:
            The part.

        Raises:
            ConfigurationError: if it is anything else.
        """
        text = text.strip()
        try:
            if text == "all":
                return cls()
            if text.endswith("%"):
                return cls(fraction=float(text[:-1]) / 100)
            return cls(int(text))
        except ValueError as error:  # that of a part too
            raise ConfigurationError(
                "Expected `shots` to list positive integers (images of each class), percentages "
                f"between 0 and 100 such as 5%, or `all`, but got {text!r}."
            ) from error

    def __str__(self) -> str:
        if self.fraction is not None:
            return f"{100 * self.fraction:g}%"
        return "all" if self.shots is None else str(self.shots)

    @property
    def whole(self) -> bool:
        """Whether these are all images."""
        return self.shots is None and self.fraction is None

    def places(self, targets: Sequence[int] | np.ndarray, *, draw: int = _DRAW) -> np.ndarray:
        """Draw the images.

        Args:
            targets: the label of each image (N,), all equal if there are none.
            draw: which of the draws, non-negative. One of other shots, or another one, has nothing
                to do with it.

        Returns:
            The places of those that are kept, in order; they depend on labels and draw alone.

        Raises:
            ConfigurationError: if a class has too few images.
        """
        if self.fraction is not None:
            return np.sort(_fraction(targets, self.fraction, draw))
        if self.shots is None:
            return np.arange(len(targets))
        return np.sort(_shots(np.asarray(targets), self.shots, draw))


def training_part(data: DictConfig) -> Part:
    """Read which part of the training images a classifier is to see.

    Args:
        data: the block ``data``, of which ``fraction`` and ``shots`` are read.

    Returns:
        The part.

    Raises:
        ConfigurationError: as :class:`Part`.
    """
    fraction = data.get("fraction", -1)
    return Part(data.get("shots"), None if fraction == -1 else fraction)


def keep_fraction(
    paths: Sequence[str], targets: Sequence[int], fraction: float
) -> tuple[list[str], list[int]]:
    """Keep a fraction of the images, of each class alike, as solo-learn's main branch does.

    Args:
        paths: the images.
        targets: their labels, all equal if there are none.
        fraction: the fraction, between 0 and 1.

    Returns:
        The images that are kept and their labels.

    Raises:
        ConfigurationError: if a class would have no image.
    """
    kept = _fraction(targets, fraction, _DRAW)
    return [paths[place] for place in kept], [targets[place] for place in kept]


def _fraction(targets: Sequence[int] | np.ndarray, fraction: float, draw: int) -> np.ndarray:
    from sklearn.model_selection import train_test_split  # slow to import, rarely needed

    labels = np.asarray(targets)
    classes, counts = np.unique(labels, return_counts=True)
    given = f"but got {fraction} of {len(labels)} images in {len(classes)} classes"
    rule = "Expected `data.fraction` to keep an image of each class, and to leave one out,"
    # scikit-learn can keep a number of each class only where both parts can have one of each
    number = int(fraction * len(labels))
    if min(number, len(labels) - number) < len(classes) or counts.min() < 2:
        raise ConfigurationError(f"{rule} {given}.")
    stratify = labels if labels[0] >= 0 else None
    kept, _ = train_test_split(
        np.arange(len(labels)), train_size=fraction, stratify=stratify, random_state=draw
    )
    without = np.setdiff1d(classes, labels[kept])
    if without.size:
        raise ConfigurationError(f"{rule} {given}, of which number {without[0]} would have none.")
    return kept


def _shots(labels: np.ndarray, shots: int, draw: int) -> np.ndarray:
    classes, counts = np.unique(labels, return_counts=True)
    if classes[0] < 0:
        raise ConfigurationError("Expected images with labels, to draw some of each class.")
    if counts.min() < shots:
        raise ConfigurationError(
            f"Expected each class to have {shots} images (`shots`) but number "
            f"{classes[counts.argmin()]} has {counts.min()}."
        )
    rng = np.random.default_rng([shots, draw])
    return np.concatenate(
        [rng.permutation(np.flatnonzero(labels == label))[:shots] for label in classes]
    )
