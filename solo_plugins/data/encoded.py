# SPDX-License-Identifier: MIT
"""Image files as they are on disk, for DALI to decode."""

__all__ = ["EncodedFiles"]

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from solo_plugins.data.files import PreloadedFiles
from solo_plugins.data.images import image_bytes, image_size, read_image
from solo_plugins.errors import UnreadableImageError

# PIL's names of what DALI decodes; an MPO file is a JPEG with others behind it.
_FORMATS = ("BMP", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TIFF", "WEBP")
# Batches that are read while one is decoded.
_AHEAD = 2


class EncodedFiles:
    """Image files that are read some batches ahead, by threads, as disks answer many at once best.

    Args:
        paths: the files.
        targets: the labels (N,).
        preload: whether to hold the files in memory, from now on.
    """

    encoded = True

    def __init__(self, paths: Sequence[str], targets: Sequence[int], *, preload: bool) -> None:
        self.paths, self.targets = paths, targets
        self._preloaded = PreloadedFiles(paths) if preload else None
        self._has_a_size = np.zeros(len(paths), bool)  # that may be decoded: DALI has no limit

    def __len__(self) -> int:
        return len(self.paths)

    def read(
        self, batches: Iterable[np.ndarray], num_threads: int = 1
    ) -> Iterator[tuple[np.ndarray, list[np.ndarray]]]:
        """Read files.

        Args:
            batches: indexes (B,) of each batch.
            num_threads: files that are read at once.

        Yields:
            The indexes and the bytes of each file of each batch.

        Raises:
            UnreadableImageError: naming the file, if it cannot be read, or has more pixels than
                are decoded.
        """
        waiting: deque[tuple[np.ndarray, list[Future[np.ndarray]]]] = deque()
        pool = ThreadPoolExecutor(num_threads)
        try:
            for indexes in batches:
                waiting.append((indexes, [pool.submit(self._content, i) for i in indexes]))
                if len(waiting) > _AHEAD:
                    yield _done(*waiting.popleft())
            while waiting:
                yield _done(*waiting.popleft())
        finally:
            pool.shutdown(cancel_futures=True)

    def blank(self, number: int) -> list[np.ndarray]:
        """Return `number` files of one black pixel."""
        file = BytesIO()
        Image.new("RGB", (1, 1)).save(file, format="PNG")
        return [np.frombuffer(file.getvalue(), np.uint8)] * number

    def error(self, error: RuntimeError, batches: Iterable[np.ndarray]) -> Exception:
        """Find out which file DALI could not decode; its error does not say.

        Args:
            error: DALI's.
            batches: indexes (B,) of the batches that it may have been at.

        Returns:
            An error that names the file, or DALI's own if it can decode all of them.
        """
        for index in dict.fromkeys(i for batch in batches for i in batch):
            if not _decodes(self._content(index)):
                return UnreadableImageError(self._line(self.paths[index]))
        return error

    def _content(self, index: int) -> np.ndarray:
        path = self.paths[index]
        held = self._preloaded
        content = image_bytes(path) if held is None else held.content(path)
        if not self._has_a_size[index]:
            image_size(path, content)
            self._has_a_size[index] = True
        return np.frombuffer(content, np.uint8)

    def _line(self, path: str) -> str:
        try:
            read_image(path)
        except UnreadableImageError as error:
            return str(error)
        with Image.open(path) as image:
            kind = image.format
        why = f": it is {kind} by its content, whatever its name" if kind not in _FORMATS else ""
        return f"{path!r} cannot be read as an image by DALI{why}."


def _done(
    indexes: np.ndarray, futures: Sequence[Future[np.ndarray]]
) -> tuple[np.ndarray, list[np.ndarray]]:
    return indexes, [future.result() for future in futures]


def _decodes(content: np.ndarray) -> bool:
    """Tell whether DALI decodes a file, on the CPU."""
    from nvidia.dali import fn, pipeline_def, types

    @pipeline_def
    def define() -> Any:
        found = fn.external_source(lambda: [content], batch=True)
        return fn.decoders.image(found, output_type=types.DALIImageType.RGB)

    on_cpu: Any = None  # which DALI's own hints leave out
    try:
        pipeline = define(batch_size=1, num_threads=1, device_id=on_cpu)
        pipeline.build()
        pipeline.run()
    except RuntimeError:
        return False
    return True
