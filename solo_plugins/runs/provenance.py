# SPDX-License-Identifier: MIT
"""Which code and which releases a result comes from."""

__all__ = ["commit", "versions"]

import subprocess
from importlib import metadata
from pathlib import Path

from solo_plugins.framework import release

_PACKAGE = Path(__file__).resolve().parent


def commit(folder: Path = _PACKAGE) -> str | None:
    """Return the git commit of the code.

    Args:
        folder: a folder of the code (default: this package's).

    Returns:
        40 hexadecimal digits, with ``-dirty`` behind them if tracked files have been edited; None
        if the folder is not under git's control, as in an installed wheel, or there is no git.
    """
    # A package that is installed within somebody's repository is not part of it.
    if not _git(folder, "ls-files", "."):
        return None
    return _git(folder, "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty")


def versions() -> dict[str, str]:
    """Return the releases that numbers depend on.

    Returns:
        torch, torchvision, lightning and timm by their version, solo_learn as ``pypi 1.0.2`` or
        ``main``, which has no releases.
    """
    found = {name: metadata.version(name) for name in ("torch", "torchvision", "lightning", "timm")}
    solo = "main" if release() == "main" else f"pypi {metadata.version('solo-learn')}"
    return {**found, "solo_learn": solo}


def _git(folder: Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
