# SPDX-License-Identifier: MIT
"""Writing files whole or not at all, and reading them without trust in what they hold."""

__all__ = [
    "RunFileError", "clean", "parse_json", "parse_yaml", "read_text", "whole_folder", "write_bytes",
    "write_json", "write_text",
]  # fmt: skip

import json
import os
import shutil
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

# Far above any configuration or result: what is larger is none.
_LARGEST = 16 * 2**20
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
        if keep is not None and path.is_file():
            path.replace(keep)
        part.replace(path)
        _sync(path.parent)
    except OSError as error:
        raise RunFileError(path, _text(error), "written") from error
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
        file.write(text.encode())

    write_bytes(path, write)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object as :func:`write_bytes` does.

    Args:
        path: the file.
        content: what ``json`` can write.
    """
    write_text(path, json.dumps(content, indent=2) + "\n")


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Make a folder whole or not at all, also if the process is killed in between.

    Files go into a hidden folder beside it, which takes its name when the block is done. What a
    killed process has left there is removed first.

    Args:
        path: the folder, which may exist if it is empty.

    Yields:
        The hidden folder, empty.

    Raises:
        RunFileError: if the folder holds something, another process is making it, or the disk is
            full or refuses.
    """
    path = path.resolve()
    part, lock = (path.with_name(f".{path.name}{end}") for end in (_PART, ".lock"))
    try:
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise RunFileError(path, "it is there already; remove it or name another", "written")
        path.parent.mkdir(parents=True, exist_ok=True)
        with held(lock):
            shutil.rmtree(part, ignore_errors=True)
            try:
                part.mkdir()
                yield part
                for file in part.rglob("*"):
                    _sync(file)
                part.replace(path)
                _sync(path.parent)
            finally:
                shutil.rmtree(part, ignore_errors=True)
                lock.unlink(missing_ok=True)
    except HeldError as error:
        raise RunFileError(path, str(error), "written") from error
    except OSError as error:
        raise RunFileError(path, _text(error), "written") from error


def clean(folder: Path) -> None:
    """Remove temporary files that a killed process has left.

    Args:
        folder: a folder that no other process writes to.
    """
    for part in folder.glob(f".*{_PART}"):
        with suppress(OSError):
            part.unlink()


def read_text(path: Path) -> str:
    """Read a text file of a run.

    Args:
        path: the file.

    Returns:
        Its content.

    Raises:
        RunFileError: if it cannot be read or is far too large.
    """
    try:
        size = path.stat().st_size
        if size > _LARGEST:
            raise RunFileError(path, f"it has {size} bytes, more than any configuration")
        return path.read_text()
    except RunFileError:
        raise
    except (OSError, ValueError) as error:
        raise RunFileError(path, _text(error)) from error


def parse_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Args:
        path: the file.

    Returns:
        Its content.

    Raises:
        RunFileError: if it cannot be read or holds something else.
    """
    try:
        content = json.loads(read_text(path))
    except (json.JSONDecodeError, RecursionError) as error:
        raise RunFileError(path, _text(error)) from error
    if not isinstance(content, dict):
        raise RunFileError(path, "it holds no settings")
    return content


def parse_yaml(path: Path) -> Any:
    """Read a YAML mapping of plain values.

    Args:
        path: the file.

    Returns:
        Its content.

    Raises:
        RunFileError: if it cannot be read or holds something else, or has aliases or references,
            by which a small file can become an endless one.
    """
    text = read_text(path)
    try:
        if "*" in text and any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
            raise RunFileError(path, "it has YAML aliases")
        if "${" in text:
            raise RunFileError(path, "it has references, ${...}, which no run writes")
        if not isinstance(yaml.compose(text, Loader=yaml.SafeLoader), yaml.MappingNode):
            raise RunFileError(path, "it holds no settings")
        content = OmegaConf.create(text)
    except RunFileError:
        raise
    except (OmegaConfBaseException, yaml.YAMLError, RecursionError, ValueError) as error:
        raise RunFileError(path, _text(error)) from error
    return content


def _sync(path: Path) -> None:
    """Put a file's content, or of a folder its list of names, on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _text(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
