# SPDX-License-Identifier: MIT
"""The finished runs that a pattern of folders means."""

__all__ = ["finished_runs", "is_pattern"]

import glob
import os
from pathlib import Path

from solo_plugins.errors import ConfigurationError
from solo_plugins.runs.files import RunFileError
from solo_plugins.runs.folder import RunFolder


def is_pattern(path: str) -> bool:
    """Tell whether a path is a pattern of several: it has ``*``, ``?`` or ``[`` and is not there.

    Args:
        path: any text.
    """
    return glob.has_magic(path) and not os.path.lexists(path)


def finished_runs(pattern: str) -> list[Path]:
    """List the folders of finished pretraining runs that a pattern matches.

    Folders of evaluations, of runs that are not finished and of anything else are passed over.

    Args:
        pattern: as a shell has it, ``**`` for any depth.

    Returns:
        Paths, sorted.

    Raises:
        ConfigurationError: if there is none.
    """
    matches = sorted(glob.glob(_literal_as_far_as_it_is_there(pattern), recursive=True))
    runs = [Path(match) for match in matches if _is_pretrained(RunFolder(Path(match)))]
    if not runs:
        raise ConfigurationError(
            "Expected `pretrained_feature_extractor` to match folders of finished runs, as "
            f"'trained_models/*/*' does, but none of the {len(matches)} that {pattern!r} matches "
            "is one."
        )
    return runs


def _literal_as_far_as_it_is_there(pattern: str) -> str:
    """Escape the folders at a pattern's beginning that exist, whatever signs are in their names."""
    path = Path(os.path.expanduser(pattern))
    there = next((folder for folder in path.parents if folder.is_dir()), Path())
    return str(Path(glob.escape(str(there))) / path.relative_to(there))


def _is_pretrained(folder: RunFolder) -> bool:
    try:
        return folder.finished and "pretrained_feature_extractor" not in folder.read_config()
    except RunFileError:
        return False
