# SPDX-License-Identifier: MIT
"""Images that lie in memory as arrays of 8 bits."""

__all__ = ["Pixels"]

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from solo_plugins.errors import ConfigurationError


class Pixels:
    """Images of one size in memory, which is not copied.

    Args:
        pixels: unsigned integers of 8 bits (N, H, W, 3).
        targets: the labels (N,).

    Raises:
        ConfigurationError: for images of several sizes, or of another form.

    Example:
        >>> images = Pixels(np.zeros((4, 8, 8, 3), np.uint8), [0, 1, 2, 3])
        >>> [(indexes.tolist(), found.shape) for indexes, found in images.read([np.array([3, 1])])]
        [([3, 1], (2, 8, 8, 3))]
    """

    encoded = False

    def __init__(self, pixels: np.ndarray | Sequence[np.ndarray], targets: Sequence[int]) -> None:
        shapes = {np.shape(image) for image in pixels} if len(pixels) else set()
        if len(shapes) != 1:
            sizes = ", ".join(" x ".join(map(str, shape)) for shape in sorted(shapes)[:3])
            raise ConfigurationError(
                "Expected images in memory to be of one size with `data.format: dali` but got "
                f"{sizes or 'no image'}; write them into folders for `data.dataset: custom`."
            )
        self.pixels, self.targets = np.asarray(pixels), targets
        if self.pixels.dtype != np.uint8 or self.pixels.ndim != 4 or self.pixels.shape[3] != 3:
            raise ConfigurationError(
                "Expected images in memory to be unsigned integers of 8 bits (N, H, W, 3) with "
                f"`data.format: dali` but got {self.pixels.dtype} {self.pixels.shape}."
            )

    def __len__(self) -> int:
        return len(self.pixels)

    def read(
        self, batches: Iterable[np.ndarray], num_threads: int = 1
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Collect images.

        Args:
            batches: indexes (B,) of each batch.
            num_threads: not used.

        Yields:
            The indexes and the images (B, H, W, 3) of each batch.
        """
        for indexes in batches:
            yield indexes, np.ascontiguousarray(self.pixels[indexes])

    def blank(self, number: int) -> np.ndarray:
        """Return black images of one pixel (`number`, 1, 1, 3)."""
        return np.zeros((number, 1, 1, 3), np.uint8)

    def error(self, error: RuntimeError, batches: Iterable[np.ndarray]) -> RuntimeError:
        """Return what to raise for an error of DALI's: that error, as no file can be at fault."""
        return error
