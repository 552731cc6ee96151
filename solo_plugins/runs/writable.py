# SPDX-License-Identifier: MIT
"""Whether a folder can be written to, asked before the work whose result is to lie there."""

__all__ = ["check_writable"]

import os
import uuid
from contextlib import suppress
from pathlib import Path

from solo_plugins.errors import ConfigurationError, os_error_line

# More than any small file takes, so that a disk that is all but full is one that is full.
_TRIAL = bytes(2**16)


def check_writable(folder: str | Path, key: str) -> None:
    """Refuse a folder that cannot be made or written to: read-only, full, not permitted, no folder.

    A file is written and removed, in the folder or in the nearest one above it that exists, as
    neither permissions nor free space say everything.

    Args:
        folder: the folder, which need not exist.
        key: the setting or argument that names it.

    Raises:
        ConfigurationError: naming `key`, the folder and the reason.
    """
    there = Path(folder).absolute()
    trial = None
    try:
        while not os.path.lexists(there) and there != there.parent:
            there = there.parent
        path = there / f".{uuid.uuid4().hex[:8]}.part"
        with path.open("xb") as file:
            trial = path
            file.write(_TRIAL)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise ConfigurationError(
            f"Expected `{key}` to be in a folder that can be written to but got {str(folder)!r}: "
            f"{os_error_line(error)}."
        ) from error
    finally:
        if trial is not None:
            with suppress(OSError):
                trial.unlink()
