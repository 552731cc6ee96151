# SPDX-License-Identifier: MIT
"""Small forms of the images that were embedded, read again from where they lie."""

__all__ = ["Thumbnails", "read_again", "read_thumbnails"]

import base64
from collections.abc import Callable, Iterable
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from PIL import Image
from tqdm import tqdm

from solo_plugins.codes.embeddings import Embeddings
from solo_plugins.data.datasets import DATASETS
from solo_plugins.data.images import read_image
from solo_plugins.errors import UnreadableImageError

# In pixels; up to the second number an image keeps every pixel as it is.
_SIDE, _FEW = 64, 16
# A place in the data set, a path below its folder and a label, to an image.
_Read = Callable[[int, str, int], Image.Image]
_Form = TypeVar("_Form")


class Thumbnails(NamedTuple):
    """Images for a page.

    Args:
        uris: by row, the image as a data URI.
        missing: by row, why there is none.
    """

    uris: dict[int, str]
    missing: dict[int, str]


def read_thumbnails(
    embeddings: Embeddings, rows: Iterable[int], root: str | None = None
) -> Thumbnails:
    """Read images again, and make them small.

    Args:
        embeddings: whose ``meta.json`` says where the images lie.
        rows: of its table of images.
        root: where they lie now, if not there.

    Returns:
        An image or a reason for each row.
    """
    return Thumbnails(*read_again(embeddings, rows, _uri, root))


def read_again(
    embeddings: Embeddings,
    rows: Iterable[int],
    form: Callable[[Image.Image], _Form],
    root: str | None = None,
) -> tuple[dict[int, _Form], dict[int, str]]:
    """Read images again.

    Args:
        embeddings: whose ``meta.json`` says where the images lie.
        rows: of its table of images.
        form: what is made of an image.
        root: where they lie now, if not there.

    Returns:
        By row, what was made of the image, and by row, why there is none.
    """
    found: dict[int, _Form] = {}
    missing: dict[int, str] = {}
    read = _reader(embeddings.source, root)
    table = embeddings.images
    for row in tqdm(list(rows), unit=" images", disable=None):
        index, name, label = (table[column].iloc[row] for column in ("index", "name", "label"))
        try:
            found[row] = form(read(int(index), name, int(label)))
        except UnreadableImageError as error:
            missing[row] = str(error)
    return found, missing


def _reader(facts: dict[str, Any], root: str | None) -> _Read:
    dataset, split = str(facts.get("dataset")), facts.get("split")
    root = str(facts.get("root")) if root is None else root
    info = DATASETS.get(dataset)
    if info is None or info.open is None:
        return lambda index, name, label: read_image(_within(root, name))
    try:
        images: Any = info.open(root, split == "train", lambda image: image)
    except (OSError, RuntimeError) as error:  # torchvision's own, if files are missing
        reason = " ".join(str(error).split())
        return _without(f"{root!r} cannot be read as {dataset}: {reason}")

    def read(index: int, name: str, label: int) -> Image.Image:
        if not 0 <= index < len(images):
            raise UnreadableImageError(f"{dataset} has {len(images)} images, and none {index}.")
        image, own = images[index]
        if int(own) != label:
            raise UnreadableImageError(
                f"Image {index} of {dataset} has the label {own}, and had {label} when embedded."
            )
        return image

    return read


def _within(root: str, name: str) -> Path:
    """Find an image below its folder; a name that leads out of it is anybody's wish."""
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise UnreadableImageError(f"{name!r} is not below the folder of the images.")
    return Path(root, name)


def _without(reason: str) -> _Read:
    def read(index: int, name: str, label: int) -> Image.Image:
        raise UnreadableImageError(reason)

    return read


def _uri(image: Image.Image) -> str:
    """Write an image as WebP, of all that browsers show the smallest at this size."""
    image.thumbnail((_SIDE, _SIDE))
    file = BytesIO()
    image.save(file, "webp", quality=75, lossless=max(image.size) <= _FEW)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"
