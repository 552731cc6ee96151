# SPDX-License-Identifier: MIT
"""One process at a time in a folder, on one machine or on several that share a disk."""

__all__ = ["HeldError", "held"]

import errno
import os
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from solo_plugins.errors import ConfigurationError

try:
    import fcntl
except ImportError:
    fcntl = None  # type: ignore[assignment]  # Windows has none

# A file system that cannot lock says one of these.
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}
# The kernel's locks are a process's: a second one of the same process is refused here.
_own: set[str] = set()
_guard = threading.Lock()


class HeldError(ConfigurationError):
    """A folder that another process works in."""


@contextmanager
def held(
    path: Path, *, may_live_elsewhere: bool = False, interval: float = 10.0, wait: bool = False
) -> Iterator[None]:
    """Hold a lock file while the block runs; a dead process holds nothing.

    The kernel's lock decides, which ends with its process and counts on shared disks too where
    these have locks. A holder on another machine may be beyond its reach: then the file's time, a
    heartbeat, is watched, and only one that moves is alive. No clock is compared with another.

    Args:
        path: the lock file, made if it is missing and left behind.
        may_live_elsewhere: whether a process of another machine said that it works here.
        interval: seconds between two heartbeats.
        wait: whether to wait for the lock in place of refusing.

    Yields:
        None.

    Raises:
        HeldError: if a living process holds the lock, or the lock file is a link or no file.
        ConfigurationError: on a system without locks of files.
    """
    if fcntl is None:
        raise ConfigurationError(
            f"Expected a system that locks files, Linux or macOS, but got {sys.platform!r}. Under "
            "Windows, use WSL."
        )
    with _alone_in_process(path, wait=wait):
        handle = _open(path)
        try:
            locks = _lock(handle, wait=wait)
            if (may_live_elsewhere or not locks) and _beats(handle, interval):
                raise HeldError("a process of another machine works in it.")
            with _heartbeat(lambda: os.utime(handle), interval):
                yield
        finally:
            os.close(handle)


@contextmanager
def _alone_in_process(path: Path, *, wait: bool) -> Iterator[None]:
    """Keep a second user of this process from opening the file, whose closing would unlock it."""
    own = os.path.realpath(path)
    while True:
        with _guard:
            if own not in _own:
                _own.add(own)
                break
        if not wait:
            raise HeldError("this process works in it already.")
        time.sleep(0.01)
    try:
        yield
    finally:
        with _guard:
            _own.discard(own)


def _open(path: Path) -> int:
    """Open the lock file itself: what a link leads to, or a pipe, is left alone."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        handle = os.open(path, flags, 0o666)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
            raise HeldError(f"its lock, {path.name}, is a link or no file.") from error
        raise
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise HeldError(f"its lock, {path.name}, is no file.")
    return handle


def _lock(handle: int, *, wait: bool) -> bool:
    """Take the kernel's lock; tell whether this file system has any."""
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            raise HeldError("another process works in it.") from error
        if error.errno not in _NO_LOCKS:
            raise
        return False
    return True


def _beats(handle: int, interval: float) -> bool:
    """Watch for a heartbeat."""
    before, end = os.fstat(handle).st_mtime_ns, time.monotonic() + 3 * interval
    while time.monotonic() < end:
        time.sleep(min(interval / 5, 0.5))
        if os.fstat(handle).st_mtime_ns != before:
            return True
    return False


@contextmanager
def _heartbeat(beat: Callable[[], None], interval: float) -> Iterator[None]:
    done = threading.Event()

    def run() -> None:
        while not done.wait(interval):
            beat()

    thread = threading.Thread(target=run, name="heartbeat", daemon=True)
    beat()
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
