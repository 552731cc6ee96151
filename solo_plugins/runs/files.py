# SPDX-License-Identifier: MIT
"""Writing files whole or not at all, and reading them without trust in what they hold."""

__all__ = [
    "RunFileError", "clean", "digest", "parse_json", "parse_yaml", "read_text", "whole_folder",
    "write_bytes", "write_json", "write_text",
]  # fmt: skip

import hashlib
import json
import os
import shutil
import stat
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from solo_plugins.errors import ConfigurationError
from solo_plugins.runs.lock import HeldError, held
from solo_plugins.untrusted.files import MOST_BYTES, open_regular, reason_of
from solo_plugins.untrusted.values import check_plain, check_yaml, json_value, without_nan

# Forty times the largest configuration; YAML is read at some 100 kB a second.
_LARGEST_YAML = 256 * 2**10
_PART = ".part"


class RunFileError(ConfigurationError):
    """A run's file that cannot be used.

    Args:
        path: the file.
        reason: why it cannot be used, as a clause.
        verb: what could not be done with it.
    """

    def __init__(self, path: Path, reason: str, verb: str = "used") -> None:
        super().__init__(f"{str(path)!r} cannot be {verb}: {reason}")
        self.path, self.reason = path, reason


def write_bytes(path: Path, write: Callable[[BinaryIO], None], *, keep: Path | None = None) -> None:
    """Write a file whole or not at all, also if the process or the machine stops in between.

    The content goes to a temporary file in the same folder, so that no rename crosses file systems;
    it is on the disk before it takes the place of the old file.

    Args:
        path: the file.
        write: a function that writes the content to an open file.
        keep: where to keep the old file, in the same folder. There is a whole file under one of the
            two names at any time.

    Raises:
        RunFileError: if the disk is full or refuses; the old file is still there then.
    """
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}{_PART}")
    try:
        with part.open("xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        if keep is not None and os.path.isfile(path):
            path.replace(keep)
        part.replace(path)
        _sync(path.parent)
    except OSError as error:
        raise RunFileError(path, reason_of(error), "written") from error
    finally:
        with suppress(OSError):
            part.unlink()


def write_text(path: Path, text: str) -> None:
    """Write a text as :func:`write_bytes` does.

    Args:
        path: the file.
        text: its content.
    """

    def write(file: BinaryIO) -> None:
        # a file's name may hold bytes that are no text
        file.write(text.encode(errors="surrogateescape"))

    write_bytes(path, write)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object as :func:`write_bytes` does.

    Args:
        path: the file.
        content: what ``json`` can write; a number that is NaN or infinite, which JSON has not,
            becomes null.
    """
    write_text(path, json.dumps(without_nan(dict(content)), indent=2, allow_nan=False) + "\n")


def digest(path: Path) -> str:
    """Compute a file's SHA-256.

    Args:
        path: the file.

    Returns:
        64 hexadecimal digits.
    """
    found = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(2**20):
            found.update(part)
    return found.hexdigest()


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Make a folder whole or not at all, also if the process is killed in between.

    Files go into a hidden folder beside it, which takes its name when the block is done. What a
    killed process has left there, or anybody has put there, is removed first; no link is followed.

    Args:
        path: the folder, which may exist if it is empty.

    Yields:
        The hidden folder, empty.

    Raises:
        RunFileError: if the folder holds something, another process is making it, or the disk is
            full or refuses.
    """
    path = Path(os.path.realpath(path))
    part, lock = (path.with_name(f".{path.name}{end}") for end in (_PART, ".lock"))
    try:
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise RunFileError(path, "it is there already; remove it or name another", "written")
        path.parent.mkdir(parents=True, exist_ok=True)
        with held(lock):
            _remove(part)
            try:
                part.mkdir()
                yield part
                for file in part.rglob("*"):
                    _sync(file)
                part.replace(path)
                _sync(path.parent)
            finally:
                _remove(part)
                lock.unlink(missing_ok=True)
    except HeldError as error:
        raise RunFileError(path, str(error), "written") from error
    except OSError as error:
        raise RunFileError(path, reason_of(error), "written") from error


def clean(folder: Path) -> None:
    """Remove temporary files that a killed process has left.

    Args:
        folder: a folder that no other process writes to.
    """
    for part in folder.glob(f".*{_PART}"):
        with suppress(OSError):
            part.unlink()


def read_text(path: Path, most: int = MOST_BYTES) -> str:
    """Read a text file of a run.

    Args:
        path: the file.
        most: its largest size in bytes.

    Returns:
        Its content.

    Raises:
        RunFileError: if it is no file, cannot be read or is far too large.
    """
    try:
        with open_regular(path, most=most) as file:
            return file.read().decode()
    except (OSError, ValueError) as error:
        raise RunFileError(path, reason_of(error)) from error


def parse_json(path: Path) -> dict[str, Any]:
    """Read a JSON object of plain values.

    Args:
        path: the file.

    Returns:
        Its content; numbers may be NaN or infinite, as earlier commits wrote them.

    Raises:
        RunFileError: if it cannot be read or holds something else.
    """
    text = read_text(path)
    try:
        content = json_value(text)
    except ValueError as error:
        raise RunFileError(path, reason_of(error)) from error
    if not isinstance(content, dict):
        raise RunFileError(path, "it holds no settings")
    return content


def parse_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping of plain values, with OmegaConf's forms of numbers.

    Args:
        path: the file.

    Returns:
        Its content.

    Raises:
        RunFileError: if it cannot be read or holds something else, or has aliases, tags or
            references, see :func:`~solo_plugins.untrusted.values.check_yaml`.
    """
    text = read_text(path, _LARGEST_YAML)
    try:
        check_yaml(text)
        if not isinstance(yaml.compose(text, Loader=yaml.SafeLoader), yaml.MappingNode):
            raise RunFileError(path, "it holds no settings")
        # Nothing in it is a reference any more.
        content: Any = OmegaConf.to_container(OmegaConf.create(text), resolve=False)
        check_plain(content)
    except RunFileError:
        raise
    except (OmegaConfBaseException, yaml.YAMLError, RecursionError, ValueError) as error:
        raise RunFileError(path, reason_of(error)) from error
    return content


def _remove(path: Path) -> None:
    """Remove a folder with all in it, or a file; of a link, the link."""
    with suppress(OSError):
        if stat.S_ISDIR(path.lstat().st_mode):
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()


def _sync(path: Path) -> None:
    """Put a file's content, or of a folder its list of names, on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
