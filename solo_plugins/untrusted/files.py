# SPDX-License-Identifier: MIT
"""Opening a file that anybody may have put there: a regular one of a bounded size, or an error."""

__all__ = ["MOST_BYTES", "UnusableFileError", "check_regular", "open_regular", "reason_of"]

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

# Far above any result, index or table of classes that is written as JSON: what is larger is none.
MOST_BYTES = 16 * 2**20
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class UnusableFileError(OSError):
    """What is no regular file, or too large to be what it should be; the text is a clause.

    Args:
        path: the file.
        reason: why it cannot be used.
    """

    def __init__(self, path: str | Path, reason: str) -> None:
        super().__init__(errno.EINVAL, reason, str(path))

    def __str__(self) -> str:
        return str(self.strerror)


def open_regular(path: str | Path, *, most: int | None = None) -> BinaryIO:
    """Open a file to read it; a pipe does not block, and a device is not opened.

    Args:
        path: the file, or a link to one.
        most: the largest size in bytes, or None.

    Returns:
        The open file.

    Raises:
        OSError: if there is none or it cannot be read; an :class:`UnusableFileError` if it is a
            folder, a pipe or the like, or larger than `most`.

    Example:
        >>> open_regular("/dev/zero")
        Traceback (most recent call last):
        solo_plugins.untrusted.files.UnusableFileError: it is a device, not a file
    """
    _check(path, os.stat(path), most)
    # what was a file a moment ago may be a pipe by now
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _check(path, os.fstat(handle), most)
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def check_regular(path: str | Path, *, most: int | None = None) -> int:
    """Refuse what :func:`open_regular` refuses, for readers that open a file themselves.

    Args:
        path: the file, or a link to one.
        most: the largest size in bytes, or None.

    Returns:
        Its size in bytes.

    Raises:
        OSError: as there.
    """
    with open_regular(path, most=most) as file:
        return os.fstat(file.fileno()).st_size


def reason_of(error: Exception) -> str:
    """Write an error as a clause of one line, without the number that the system gives it.

    Args:
        error: any error of a reader.

    Returns:
        At most 200 characters.

    Example:
        >>> reason_of(FileNotFoundError(2, "No such file or directory", "a.json"))
        'No such file or directory'
    """
    text = str(error)
    if isinstance(error, OSError) and error.strerror:
        text = error.strerror
    return " ".join(text.split())[:200] or type(error).__name__


def _check(path: str | Path, status: os.stat_result, most: int | None) -> None:
    kind = stat.S_IFMT(status.st_mode)
    if kind != stat.S_IFREG:
        raise UnusableFileError(path, f"it is {_KINDS.get(kind, 'something else')}, not a file")
    if most is not None and status.st_size > most:
        raise UnusableFileError(
            path, f"it has {status.st_size} bytes, more than the {most} that are read"
        )
