# SPDX-License-Identifier: MIT
"""A fraction of a data set's images, the same in every run."""

__all__ = ["keep_fraction"]

from collections.abc import Sequence

import numpy as np

from solo_plugins.errors import ConfigurationError


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
    from sklearn.model_selection import train_test_split  # slow to import, rarely needed

    classes, counts = np.unique(targets, return_counts=True)
    given = f"but got {fraction} of {len(paths)} images in {len(classes)} classes"
    rule = "Expected `data.fraction` to keep an image of each class, and to leave one out,"
    # scikit-learn can keep a number of each class only where both parts can have one of each
    kept = int(fraction * len(paths))
    if min(kept, len(paths) - kept) < len(classes) or counts.min() < 2:
        raise ConfigurationError(f"{rule} {given}.")
    stratify = targets if targets[0] >= 0 else None
    left, _, labels, _ = train_test_split(
        paths, targets, train_size=fraction, stratify=stratify, random_state=42
    )
    without = sorted(set(classes.tolist()) - set(labels))
    if without:
        raise ConfigurationError(f"{rule} {given}, of which number {without[0]} would have none.")
    return left, labels
