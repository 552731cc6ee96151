# SPDX-License-Identifier: MIT
"""What is no file is told from one, and nothing blocks."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from solo_plugins.untrusted.files import UnusableFileError, check_regular, open_regular


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("pipe", "it is a pipe, not a file"),
        ("folder", "it is a folder, not a file"),
        ("device", "it is a device, not a file"),
        ("loop", "Too many levels of symbolic links"),
        ("dangling", "No such file or directory"),
        ("terabyte", r"it has 1099511627776 bytes, more than the 100 that are read"),
    ],
)
def test_what_is_no_file_is_said(
    kind: str, reason: str, put_instead: Callable, tmp_path: Path
) -> None:
    put_instead(kind, tmp_path / "x")
    with pytest.raises(OSError, match=reason):
        open_regular(tmp_path / "x", most=100)


def test_a_socket_is_no_file(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "x"))
        with pytest.raises(UnusableFileError, match="it is a socket, not a file"):
            check_regular(tmp_path / "x")


def test_a_link_to_a_file_is_the_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    (tmp_path / "link").symlink_to("file")
    assert check_regular(tmp_path / "link", most=3) == 3
    with open_regular(tmp_path / "link") as file:
        assert file.read() == b"abc"


def test_a_file_that_becomes_a_pipe_is_refused_without_a_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (tmp_path / "x").write_bytes(b"") or os.stat(tmp_path / "x")
    (tmp_path / "x").unlink()
    os.mkfifo(tmp_path / "x")
    monkeypatch.setattr("solo_plugins.untrusted.files.os.stat", lambda path: before)
    with pytest.raises(UnusableFileError, match="it is a pipe"):
        open_regular(tmp_path / "x")
