# SPDX-License-Identifier: MIT
"""Leaving results in the pretraining run's folder, where a report finds them."""

__all__ = ["commit", "write_result"]

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_only


def commit() -> str | None:
    """Look up the commit of this code.

    Returns:
        The hash, with ``-dirty`` behind it if files were changed since; None outside a clone.
    """
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        done = subprocess.run(
            [*git, "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip() or None


@rank_zero_only
def write_result(path: Path, result: Mapping[str, Any]) -> None:
    """Write a result, whole or not at all.

    Args:
        path: the file.
        result: what ``json`` can write; the commit is added.
    """
    text = json.dumps({**result, "commit": commit()}, indent=2)
    part = path.with_name(f"{path.name}.part")
    part.write_text(f"{text}\n")
    part.replace(path)
