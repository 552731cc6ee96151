# SPDX-License-Identifier: MIT
"""A folder of embeddings. This module alone knows what its files are called."""

__all__ = ["CODES", "CODES_CSR", "FEATURES", "IMAGES", "META", "SKIPPED", "Embeddings"]

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

FEATURES, CODES, CODES_CSR = "features.safetensors", "codes.safetensors", "codes.npz"
IMAGES, SKIPPED, META = "images.csv", "skipped.csv", "meta.json"
_COLUMNS = {"index": int, "name": str, "label": int, "class": str}


@dataclass(frozen=True)
class Embeddings:
    """A folder that ``solo_plugins embed`` has made; files are read when they are asked for.

    Args:
        folder: the folder.

    Raises:
        ConfigurationError: if it is none; by the attributes: if a file cannot be read.
    """

    folder: Path

    def __post_init__(self) -> None:
        if not (self.folder / META).is_file():
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
        return self._read(FEATURES, load_file)["features"]

    @cached_property
    def codes(self) -> scipy.sparse.csr_matrix:
        """Projector outputs (N, D), float32."""
        if not (self.folder / CODES_CSR).is_file():
            raise ConfigurationError(
                f"Expected {str(self.folder)!r} to hold codes but the network has no projector; "
                "there are features only."
            )
        return self._read(CODES_CSR, scipy.sparse.load_npz)

    def _read(self, name: str, read: Any) -> Any:
        path = self.folder / name
        try:
            return read(path)
        except (OSError, ValueError, EOFError, SafetensorError) as error:
            text = " ".join(str(error).split())[:200]
            raise ConfigurationError(f"{str(path)!r} cannot be read: {text}") from error
