# SPDX-License-Identifier: MIT
"""A folder of embeddings. This module alone knows what its files are called."""

__all__ = ["CODES", "CODES_CSR", "FEATURES", "IMAGES", "META", "SKIPPED", "Embeddings"]

import os
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse
from safetensors import SafetensorError
from safetensors.numpy import load_file

from solo_plugins.errors import ConfigurationError
from solo_plugins.runs.files import parse_json
from solo_plugins.untrusted.archive import check_npz
from solo_plugins.untrusted.files import check_regular, reason_of

FEATURES, CODES, CODES_CSR = "features.safetensors", "codes.safetensors", "codes.npz"
IMAGES, SKIPPED, META = "images.csv", "skipped.csv", "meta.json"
_COLUMNS = {"index": int, "name": str, "label": int, "class": str}
# Far above any network's; a page of them, or a table of pairs, is none.
_MOST_OUTPUTS = 2**20
# What the readers of numpy, scipy, pandas and safetensors raise for files that are none of theirs.
_UNREADABLE = (
    OSError, ValueError, EOFError, LookupError, TypeError, AttributeError, MemoryError,
    OverflowError, RuntimeError, zipfile.BadZipFile, zlib.error, SafetensorError,
)  # fmt: skip


@dataclass(frozen=True)
class Embeddings:
    """A folder that ``solo_plugins embed`` has made; files are read when they are asked for.

    Args:
        folder: the folder, a path or a text.

    Raises:
        ConfigurationError: if it is none; by the attributes: if a file cannot be read, or holds
            something else than it should, whoever wrote it.
    """

    folder: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", Path(self.folder))  # a text is taken, too
        if not os.path.lexists(self.folder / META):
            raise ConfigurationError(
                f"Expected a folder that `solo_plugins embed` has made, with {META}, but got "
                f"{str(self.folder)!r}."
            )

    @cached_property
    def meta(self) -> dict[str, Any]:
        """What was encoded by which network."""
        return parse_json(self.folder / META)

    @property
    def source(self) -> dict[str, Any]:
        """The data set with its ``split`` and ``root``; empty if that is not known."""
        found = self.meta.get("data")
        return found if isinstance(found, dict) else {}

    @property
    def checkpoint(self) -> str:
        """The network's checkpoint, where it was."""
        found = self.meta.get("checkpoint")
        if not isinstance(found, str):
            raise ConfigurationError(
                f"Expected {str(self.folder / META)!r} to name the `checkpoint` but got {found!r}."
            )
        return found

    @cached_property
    def images(self) -> pd.DataFrame:
        """A row for each image: ``index`` in the data set, ``name``, ``label`` and ``class``."""
        return self._read(
            IMAGES,
            lambda path: pd.read_csv(
                path,
                usecols=list(_COLUMNS),
                dtype=_COLUMNS,
                keep_default_na=False,
                encoding_errors="surrogateescape",  # as names of files come
            ),
        )

    @property
    def labels(self) -> np.ndarray:
        """The images' labels (N,), -1 where there are none."""
        return self.images["label"].to_numpy()

    @cached_property
    def features(self) -> np.ndarray:
        """Backbone features (N, F), float32."""
        return self._read(FEATURES, self._features)

    @cached_property
    def codes(self) -> scipy.sparse.csr_matrix:
        """Projector outputs (N, D), float32."""
        if not os.path.lexists(self.folder / CODES_CSR):
            raise ConfigurationError(
                f"Expected {str(self.folder)!r} to hold codes but the network has no projector; "
                "there are features only."
            )
        return self._read(CODES_CSR, self._codes)

    def _features(self, path: Path) -> np.ndarray:
        found = load_file(path)["features"]
        if found.ndim != 2 or found.dtype != np.float32 or len(found) != len(self.images):
            raise ValueError(
                f"its features are {found.dtype} {found.shape} of {len(self.images)} images"
            )
        return found

    def _codes(self, path: Path) -> scipy.sparse.csr_matrix:
        check_npz(path)
        found = scipy.sparse.load_npz(path)
        # What reads a matrix trusts its places: those out of range would be read from elsewhere.
        if found.format != "csr" or found.dtype.kind != "f":
            raise ValueError(f"it is {found.format} of {found.dtype}")
        found.check_format(full_check=True)
        if found.shape[1] > _MOST_OUTPUTS:
            raise ValueError(f"it has {found.shape[1]} outputs, more than {_MOST_OUTPUTS}")
        if found.shape[0] != len(self.images):
            raise ConfigurationError(
                f"Expected a code for each image in {str(self.folder)!r} but got codes of shape "
                f"{found.shape} and {len(self.images)} images."
            )
        return found

    def _read(self, name: str, read: Callable[[Path], Any]) -> Any:
        path = self.folder / name
        try:
            check_regular(path)
            return read(path)
        except ConfigurationError:
            raise
        except _UNREADABLE as error:
            raise ConfigurationError(f"{str(path)!r} cannot be read: {reason_of(error)}") from error
