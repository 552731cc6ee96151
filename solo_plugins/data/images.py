# SPDX-License-Identifier: MIT
"""Decoding an image file: any mode that PIL knows ends as RGB of 8 bits, or as an error by name."""

__all__ = ["DAMAGED", "as_rgb", "image_bytes", "image_size", "read_image"]

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from solo_plugins.errors import UnreadableImageError
from solo_plugins.untrusted.files import open_regular, reason_of

# What is larger is no image but fills the memory: in bytes of a file, and in pixels, of which the
# largest cameras have a hundred million. PIL itself warns from 89 million on.
_MOST_BYTES, _MOST_PIXELS = 2**30, 2**27
# What PIL's readers raise on files that are damaged; it has no class of its own for that.
DAMAGED = (
    OSError, EOFError, IndexError, KeyError, OverflowError, SyntaxError, TypeError, ValueError,
    struct.error, zlib.error, Image.DecompressionBombError,
)  # fmt: skip


def read_image(path: str | Path, content: bytes | None = None) -> Image.Image:
    """Decode an image file as DALI does, see :func:`as_rgb`.

    Args:
        path: the file.
        content: what it holds, if that has been read already.

    Returns:
        An RGB image of 8 bits.

    Raises:
        UnreadableImageError: naming the file, if it is no file, cannot be decoded, has more than
            2**27 pixels or values of more than 16 bits.
    """
    with _opened(path, content) as image:
        image.load()
        return as_rgb(image)


def image_bytes(path: str | Path) -> bytes:
    """Read an image file without decoding it.

    Args:
        path: the file.

    Returns:
        What it holds.

    Raises:
        UnreadableImageError: naming the file, if it is no file, cannot be read, or has more than
            2**30 bytes.
    """
    try:
        with open_regular(path, most=_MOST_BYTES) as file:
            return file.read()
    except OSError as error:
        raise _named(path, error) from error


def as_rgb(image: Image.Image) -> Image.Image:
    """Turn an image of any mode into an upright one of three channels.

    Greyscale of 16 bits is scaled to 8 bits, value / 257 rounded. Transparency is dropped, and an
    image is turned as its EXIF data say.

    Args:
        image: what PIL has opened.

    Returns:
        An RGB image of 8 bits.

    Raises:
        TypeError: if it is no image of PIL's.
        ValueError: if it has values of more than 16 bits.

    Example:
        >>> as_rgb(Image.new("I;16", (1, 1), 65535)).getpixel((0, 0))
        (255, 255, 255)
    """
    if not isinstance(image, Image.Image):
        raise TypeError(
            f"Expected an image that PIL has opened but got {type(image).__name__}: "
            "`Image.open(path)` opens a file, `Image.fromarray(array)` takes uint8 (H, W, 3)."
        )
    return _upright(_rgb(image), image)


def image_size(path: str | Path, content: bytes | None = None) -> tuple[int, int]:
    """Read an image's size from its header.

    Args:
        path: the file.
        content: what it holds, if that has been read already.

    Returns:
        Width and height in pixels.

    Raises:
        UnreadableImageError: naming the file, if its header cannot be read, or has more than 2**27
            pixels.
    """
    with _opened(path, content) as image:
        return image.size


@contextmanager
def _opened(path: str | Path, content: bytes | None) -> Iterator[Image.Image]:
    """Read an image's header, and name the file in any error of the block."""
    try:
        source = open_regular(path, most=_MOST_BYTES) if content is None else BytesIO(content)
        with source, Image.open(source) as image:
            width, height = image.size
            if width * height > _MOST_PIXELS:
                raise ValueError(
                    f"it has {width} x {height} pixels, more than the {_MOST_PIXELS} that are "
                    "decoded"
                )
            yield image
    except DAMAGED as error:
        raise _named(path, error) from error


def _named(path: str | Path, error: Exception) -> UnreadableImageError:
    text = reason_of(error).rstrip(".")
    if isinstance(error, UnidentifiedImageError):  # PIL names what it was given, an open file
        text = "cannot identify image file"
    return UnreadableImageError(f"{str(path)!r} cannot be read as an image: {text}.")


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        values = np.asarray(image)
        low, high = int(values.min()), int(values.max())
        if low < 0 or high > 65535:
            raise ValueError(f"it has values from {low} to {high}, more than 16 bits hold")
        # 257 is 65535 / 255; adding its half first rounds
        pixels = ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
        return Image.fromarray(pixels).convert("RGB")
    if image.mode == "F":
        raise ValueError("it has floating-point values, of which nothing says what is white")
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # as PIL advises, by a warning
    return image.convert("RGB")


def _upright(rgb: Image.Image, image: Image.Image) -> Image.Image:
    """Turn what cameras store as it comes; few files have EXIF data, and only those pay for it."""
    if "exif" not in image.info:
        return rgb
    try:
        turn = _TURNS.get(image.getexif().get(0x0112, 1))
    except (SyntaxError, struct.error):
        return rgb  # the image is whole though its EXIF data are not
    return rgb if turn is None else rgb.transpose(turn)


# By the orientation's number in the EXIF standard.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
