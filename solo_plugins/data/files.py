# SPDX-License-Identifier: MIT
"""Image files as a data set, decoded from disk or from memory."""

__all__ = ["ImageFiles", "PreloadedFiles"]

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from torch.utils.data import Dataset

from solo_plugins.data.images import image_bytes, read_image


class PreloadedFiles:
    """A loader of images whose files are held in memory, as they are on disk.

    Loading processes share the memory. Images are decoded each time they are asked for.

    Args:
        paths: the files, which are read here.
    """

    def __init__(self, paths: Iterable[str | Path]) -> None:
        self._content = {str(path): image_bytes(path) for path in paths}

    def __call__(self, path: str | Path) -> Image.Image:
        """Decode an image.

        Args:
            path: one of the files.

        Returns:
            An RGB image.

        Raises:
            UnreadableImageError: naming the file, if it cannot be decoded.
        """
        return read_image(path, self.content(path))

    def content(self, path: str | Path) -> bytes:
        """Return what a file held.

        Args:
            path: one of the files.
        """
        return self._content[str(path)]


class ImageFiles(Dataset):
    """Image files with a label each, as pairs of image and label.

    Args:
        paths: the files.
        targets: the labels; solo-learn's classifiers ignore -1.
        transform: a function of a PIL image.
        preload: whether to hold the files in memory.
    """

    def __init__(
        self,
        paths: Sequence[str],
        targets: Sequence[int],
        transform: Callable[[Image.Image], Any],
        *,
        preload: bool,
    ) -> None:
        self.paths, self.targets, self.transform = paths, targets, transform
        self.loader: Callable = PreloadedFiles(paths) if preload else read_image

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.transform(self.loader(self.paths[index])), self.targets[index]
