# SPDX-License-Identifier: MIT
"""The command `solo_plugins`: help at once, one line for what cannot be done."""

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from solo_plugins.__main__ import main

pytestmark = pytest.mark.usefixtures("methods")


def test_help_imports_neither_torch_nor_solo_learn() -> None:
    code = (
        "import sys; from solo_plugins.__main__ import main;"
        "main(['--help'], standalone_mode=False);"
        "print(*sorted({'torch', 'lightning', 'solo', 'numpy'} & set(sys.modules)) or ['none'])"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "export" in run.stdout
    assert run.stdout.splitlines()[-1] == "none"


@pytest.mark.parametrize("command", sorted(main.commands))
def test_every_command_has_help(command: str) -> None:
    done = CliRunner().invoke(main, [command, "--help"])
    assert done.exit_code == 0
    words = str(main.commands[command].help).split()
    assert " ".join(words) in " ".join(done.output.split())


@pytest.mark.parametrize("command", ["atlas", "embed", "export", "report"])
def test_what_cannot_be_done_is_one_line(command: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(main, [command, str(tmp_path / "no"), "--out", str(tmp_path / "out")])
    assert done.exit_code == 1
    assert done.output.startswith("error: ")
    assert len(done.output.splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("arguments", ["--shots 0", "--datasets pet", "--datasets digits"])
def test_a_transfer_that_cannot_be_done_is_one_line(arguments: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["transfer", str(tmp_path), *arguments.split()])
    assert done.exit_code == 1
    assert done.output.startswith("error: Expected ")
    assert len(done.output.splitlines()) == 1
