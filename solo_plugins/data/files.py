# SPDX-License-Identifier: MIT
"""Image files: without labels, and read into memory once."""

__all__ = ["PreloadedFiles", "UnlabelledImages"]

from collections.abc import Callable, Iterable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image
from torch.utils.data import Dataset
from torchvision.datasets.folder import default_loader


class PreloadedFiles:
    """A loader of images whose files are held in memory, as they are on disk.

    Loading processes share the memory. Images are decoded each time they are asked for.

    Args:
        paths: the files, which are read here.
    """

    def __init__(self, paths: Iterable[str | Path]) -> None:
        self._content = {str(path): Path(path).read_bytes() for path in paths}

    def __call__(self, path: str | Path) -> Image.Image:
        """Decode an image.

        Args:
            path: one of the files.

        Returns:
            An RGB image.
        """
        with Image.open(BytesIO(self._content[str(path)])) as image:
            return image.convert("RGB")


class UnlabelledImages(Dataset):
    """Image files without classes, in the form of solo-learn's training sets.

    Args:
        paths: the files.
        transform: a function of a PIL image.
        preload: whether to hold the files in memory.
    """

    def __init__(
        self, paths: Sequence[Path], transform: Callable[[Image.Image], Any], *, preload: bool
    ) -> None:
        self.paths, self.transform = paths, transform
        self.loader: Callable = PreloadedFiles(paths) if preload else default_loader

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[int, Any, int]:
        # solo-learn's classifiers ignore the target -1
        return index, self.transform(self.loader(self.paths[index])), -1
