# SPDX-License-Identifier: MIT
"""Configuration blocks that the YAMLs under ``scripts/`` share, found by hydra as a package."""

__all__ = ["scripts"]

from pathlib import Path


def scripts() -> Path:
    """Find the folder of the programs' YAMLs.

    Returns:
        ``solo_plugins/scripts`` where the package is installed, the repository's ``scripts`` in a
        checkout.
    """
    package = Path(__file__).resolve().parents[1]
    installed = package / "scripts"
    return installed if installed.is_dir() else package.parent / "scripts"
