# SPDX-License-Identifier: MIT
"""Rows of numbers that are written as they come, and put together at the end.

No array is held whole, so that memory does not grow with the number of rows. The files are those of
numpy, scipy and safetensors, which read but do not write them in this way.
"""

__all__ = ["RowWriter", "join_csr", "join_dense"]

import json
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np
from typing_extensions import Self

_CHUNK = 2**20
# What a row leaves: its values; of those that are not zero themselves, places and number.
_KINDS = {"dense": np.float32, "data": np.float32, "indices": np.int32, "counts": np.int32}


class RowWriter:
    """One process's rows, as raw numbers in files that are joined at the end.

    Args:
        stem: the files' path and the beginning of their names.
        sparse: whether values that are not zero are written besides, for :func:`join_csr`.
    """

    def __init__(self, stem: Path, *, sparse: bool) -> None:
        self.kinds = list(_KINDS) if sparse else ["dense"]
        self.stem, self.width = stem, 0
        self._files: dict[str, BinaryIO] = {}

    def __enter__(self) -> Self:
        self._files = {kind: _part(self.stem, kind).open("wb") for kind in self.kinds}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for file in self._files.values():
            file.close()

    def write(self, rows: np.ndarray) -> None:
        """Append rows.

        Args:
            rows: numbers (N, D).
        """
        self.width = rows.shape[1]
        active = rows != 0
        parts = {
            "dense": rows,
            "data": rows[active],
            "indices": active.nonzero()[1],
            "counts": active.sum(axis=1),
        }
        for kind, file in self._files.items():
            file.write(np.ascontiguousarray(parts[kind], dtype=_KINDS[kind]).tobytes())


def join_dense(stems: Sequence[Path], width: int, path: Path, name: str) -> int:
    """Put the rows of all processes into one file of safetensors, and remove theirs.

    Args:
        stems: those of the writers, in order.
        width: D.
        path: the file.
        name: the tensor's name in it.

    Returns:
        The number of rows.
    """
    parts = [_part(stem, "dense") for stem in stems]
    size = sum(part.stat().st_size for part in parts)
    rows = size // (4 * width) if width else 0
    header = json.dumps(
        {name: {"dtype": "F32", "shape": [rows, width], "data_offsets": [0, size]}}
    ).encode()
    header += b" " * (-len(header) % 8)  # the numbers begin at a multiple of 8
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        for part in parts:
            _append(part, file)
    return rows


def join_csr(stems: Sequence[Path], width: int, path: Path) -> int:
    """Put the rows of all processes into one file of ``scipy.sparse.save_npz``, and remove theirs.

    Row pointers are the one thing that is held whole, 8 bytes a row.

    Args:
        stems: those of the writers, in order.
        width: D.
        path: the file, uncompressed.

    Returns:
        How many values are not zero.
    """
    counts = np.concatenate([np.fromfile(_part(stem, "counts"), np.int32) for stem in stems])
    pointers = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
    total = int(pointers[-1])
    # scipy wants one type for both
    index = np.int32 if max(total, width) <= np.iinfo(np.int32).max else np.int64
    with zipfile.ZipFile(path, "w", allowZip64=True) as archive:
        _add(archive, "format", np.array(b"csr"))
        _add(archive, "shape", np.array([len(counts), width]))
        _add(archive, "indptr", pointers.astype(index))
        for name, kind in (("indices", index), ("data", np.float32)):
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                shape = {"descr": np.dtype(kind).str, "fortran_order": False, "shape": (total,)}
                np.lib.format.write_array_header_1_0(file, shape)
                for chunk in _chunks([_part(stem, name) for stem in stems], _KINDS[name]):
                    file.write(chunk.astype(kind, copy=False).tobytes())
    for stem in stems:
        for name in ("data", "indices", "counts"):
            _part(stem, name).unlink()
    return total


def _part(stem: Path, kind: str) -> Path:
    return stem.with_name(f".{stem.name}.{kind}")


def _append(part: Path, file: BinaryIO) -> None:
    with part.open("rb") as source:
        shutil.copyfileobj(source, file, _CHUNK)
    part.unlink()


def _add(archive: zipfile.ZipFile, name: str, array: np.ndarray) -> None:
    with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
        np.lib.format.write_array(file, array)


def _chunks(parts: Sequence[Path], kind: type) -> Iterator[np.ndarray]:
    chunk: np.ndarray
    for part in parts:
        with part.open("rb") as file:
            while len(chunk := np.fromfile(file, kind, _CHUNK)):
                yield chunk
