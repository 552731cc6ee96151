# SPDX-License-Identifier: MIT
"""Arrays in a numpy archive, looked at before they are unpacked."""

__all__ = ["check_npz"]

import math
import zipfile
from collections.abc import Mapping
from pathlib import Path

from numpy.lib import format as npy

from solo_plugins.untrusted.files import check_regular

# Up to so much a packed archive may unpack to; one that is not packed has no more than its file.
_MOST_UNPACKED = 2**30
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def check_npz(path: Path) -> Mapping[str, tuple[int, ...]]:
    """Compare what an archive says of its arrays with what is in it; nothing is unpacked.

    Args:
        path: the file.

    Returns:
        The shape of each array by name.

    Raises:
        OSError: if it is no file or cannot be read.
        ValueError: if it is no archive of arrays, would unpack to far more than it is, or an array
            has objects or another size than it says.
        zipfile.BadZipFile: if it is damaged.
    """
    size, shapes = check_regular(path), {}
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        unpacked = sum(entry.file_size for entry in entries)
        if unpacked > max(size, _MOST_UNPACKED):
            raise ValueError(f"it has {size} bytes and unpacks to {unpacked}")
        for entry in entries:
            with archive.open(entry) as file:
                version = npy.read_magic(file)
                if version not in _HEADERS:
                    raise ValueError(f"{entry.filename} has the version {version} of numpy's form")
                shape, _, dtype = _HEADERS[version](file)
                claimed, header = math.prod(shape) * dtype.itemsize, file.tell()
            if dtype.hasobject or header + claimed != entry.file_size:
                raise ValueError(
                    f"{entry.filename} says that it has {claimed} bytes of {dtype} and has "
                    f"{entry.file_size - header}"
                )
            shapes[entry.filename.removesuffix(".npy")] = shape
    return shapes
