# SPDX-License-Identifier: MIT
"""Leaving results in the pretraining run's folder, where a report finds them."""

__all__ = ["write_result"]

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_only

from solo_plugins.runs.provenance import commit


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
