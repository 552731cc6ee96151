# SPDX-License-Identifier: MIT
"""Mean and standard deviation of the images of a folder."""

__all__ = ["channel_statistics"]

import numpy as np

from solo_plugins.data.folder import FolderScan
from solo_plugins.data.images import read_image

_SIDE, _DIGITS = 64, 4


def channel_statistics(scan: FolderScan, sample: int = 512) -> tuple[list[float], list[float]]:
    """Measure the channels of images in [0, 1].

    Args:
        scan: the folder.
        sample: how many images to read, evenly spread over the folder; each counts alike, larger
            ones are reduced to 64 pixels a side.

    Returns:
        Mean and standard deviation over pixels of each of red, green and blue, to four digits; a
        channel that does not vary has a standard deviation of 1.

    Raises:
        UnreadableImageError: naming the file, if one cannot be read.
    """
    step = max(1, len(scan.names) // sample)
    means, squares = [], []
    for name in scan.names[::step][:sample]:
        image = read_image(f"{scan.root}/{name}")
        image.thumbnail((_SIDE, _SIDE))
        pixels = np.asarray(image, dtype=np.float64).reshape(-1, 3) / 255
        means.append(pixels.mean(axis=0))
        squares.append(np.square(pixels).mean(axis=0))
    mean, square = np.mean(means, axis=0), np.mean(squares, axis=0)
    std = np.sqrt(np.maximum(square - mean**2, 0))
    std[std < 10.0**-_DIGITS] = 1.0
    return mean.round(_DIGITS).tolist(), std.round(_DIGITS).tolist()
