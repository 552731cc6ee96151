# SPDX-License-Identifier: MIT
"""Finding run folders under the paths that a user names."""

__all__ = ["LeftOut", "search"]

import glob
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from solo_plugins.errors import ConfigurationError
from solo_plugins.runs.folder import RunFolder

# hydra and wandb keep their own folders among the runs.
_PASSED_OVER = {"sweeps", "wandb"}


class LeftOut(NamedTuple):
    """A folder or file that the report does not use.

    Args:
        where: its path.
        reason: the reason, as a clause.
    """

    where: str
    reason: str


def search(paths: Iterable[str | Path]) -> tuple[list[Path], list[LeftOut]]:
    """Look for run folders.

    Args:
        paths: run folders, folders above run folders at any depth, and glob patterns of either.

    Returns:
        Every run folder once, however often it was named, sorted by path; and the paths without a
        run. Folders of the same name in different places are different runs.

    Raises:
        ConfigurationError: if there is not a single run folder.
    """
    named = [str(path) for path in paths]
    folders: set[Path] = set()
    left_out: list[LeftOut] = []
    for path in named:
        matches = sorted(glob.glob(os.path.expanduser(path), recursive=True))
        if not matches:
            left_out.append(LeftOut(path, "there is no such folder"))
        for match in matches:
            runs, empty = _below(Path(os.path.realpath(match)))
            folders.update(runs)
            left_out += [LeftOut(str(folder), "the folder is empty") for folder in empty]
            if not runs and not empty and len(matches) == 1:
                left_out.append(LeftOut(match, "there is no run in it"))
    if not folders:
        raise ConfigurationError(
            f"Expected folders of runs, which hold {RunFolder.CONTENTS}, but got "
            f"{', '.join(map(repr, named)) or 'nothing'} without any."
        )
    return sorted(folders), sorted(set(left_out))


def _below(path: Path) -> tuple[list[Path], list[Path]]:
    """Return the run folders and the empty folders at and below a path."""
    runs: list[Path] = []
    empty: list[Path] = []
    for folder, folders, files in os.walk(path):
        if RunFolder.holds_a_run(files):
            runs.append(Path(folder))
            folders.clear()
        elif not folders and not files:
            empty.append(Path(folder))
        folders[:] = [name for name in folders if name not in _PASSED_OVER]
    return runs, empty
