# SPDX-License-Identifier: MIT
"""A quick look at an image file: does it begin as an image, and is its end there?"""

__all__ = ["looks_whole"]

import os
import re

from PIL import Image

from solo_plugins.data.images import DAMAGED
from solo_plugins.untrusted.files import open_regular

_HEAD, _TAIL = 64, 512
_PNG = b"\x89PNG\r\n\x1a\n"
_TIFF = (b"II*\0", b"MM\0*")
_PNM = re.compile(rb"P([56])\s+(\d+)\s+(\d+)\s+(\d+)\s")


def looks_whole(path: str) -> tuple[int, bool]:
    """Read a file's first and last bytes.

    Args:
        path: the file.

    Returns:
        Its size in bytes, and whether it begins and ends as JPEG, PNG, BMP, PNM, TIFF or WebP do.
        If not, it may be a whole image all the same: of another format, or with bytes behind it.

    Raises:
        OSError: if it is no file, or cannot be opened.
    """
    with open_regular(path) as opened:
        file = opened.fileno()
        size = os.fstat(file).st_size
        head = os.pread(file, _HEAD, 0)
        tail = os.pread(file, _TAIL, max(0, size - _TAIL))
    if head.startswith(b"\xff\xd8\xff"):
        # the compressed data themselves never hold this marker
        return size, b"\xff\xd9" in tail
    if head.startswith(_PNG):
        return size, b"IEND\xaeB`\x82" in tail
    if head.startswith(_TIFF):
        return size, _strips_are_there(path, size)
    return size, 0 < _wanted(head) <= size


def _wanted(head: bytes) -> int:
    """Read how many bytes a file has by its own word, 0 if it says nothing."""
    if head.startswith(b"BM"):
        return int.from_bytes(head[2:6], "little")
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return 8 + int.from_bytes(head[4:8], "little")
    if (found := _PNM.match(head)) is not None:
        kind, width, height, white = map(int, found.groups())
        pixels = width * height * (3 if kind == 6 else 1)
        return found.end() + pixels * (2 if white > 255 else 1)
    return 0


def _strips_are_there(path: str, size: int) -> bool:
    try:
        with Image.open(path) as image:
            tags = getattr(image, "tag_v2", {})
            starts = tags.get(273) or tags.get(324) or ()
            lengths = tags.get(279) or tags.get(325) or ()
            pairs = list(zip(starts, lengths, strict=False))
    except DAMAGED:
        return False  # decoding it tells what is wrong
    return bool(pairs) and all(start + length <= size for start, length in pairs)
