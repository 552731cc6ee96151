# SPDX-License-Identifier: MIT
"""DALI's errors, in one line that names the file."""

__all__ = ["NamingErrors"]

import re
from collections.abc import Iterator, Sequence
from typing import Any

from PIL import Image

from solo_plugins.data.images import read_image
from solo_plugins.errors import UnreadableImageError

# "Failed to decode sample #0 : /a/b.png", "File mapping failed: /a/b.png"
_NAMED = re.compile(r"(?:decode sample #\d+ :|mapping failed:|open file:?) *(.+)")

# PIL's names of what DALI decodes; an MPO file is a JPEG with others behind it.
_FORMATS = ("BMP", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TIFF", "WEBP")


class NamingErrors:
    """A DALI loader whose errors name the file that it could not decode.

    Args:
        loader: the loader.
        paths: the files that it reads.
    """

    def __init__(self, loader: Any, paths: Sequence[str]) -> None:
        self.loader, self.paths = loader, paths

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        try:
            yield from self.loader
        except RuntimeError as error:
            raise UnreadableImageError(self._line(str(error))) from error

    def _line(self, text: str) -> str:
        found = _NAMED.search(text)
        if found is not None:
            return f"{found.group(1).strip()!r} cannot be read as an image by DALI."
        for path in self.paths:  # DALI did not say which
            try:
                read_image(path)
            except UnreadableImageError as error:
                return str(error)
            with Image.open(path) as image:
                if image.format not in _FORMATS:
                    return (
                        f"{path!r} cannot be read as an image by DALI: it is {image.format} by its "
                        "content, whatever its name."
                    )
        return f"DALI stopped, no file is damaged: {' '.join(text.split())}"
