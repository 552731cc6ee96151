# SPDX-License-Identifier: MIT
"""Folders of embeddings of strangers: looked at before they are unpacked, or one line."""

import csv
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from safetensors.numpy import save_file

from solo_plugins.codes import Embeddings
from solo_plugins.errors import ConfigurationError

ROWS = np.array([[0.0, 1.0, 2.0], [3.0, 0.0, 0.0]], dtype=np.float32)
ARRAYS = {
    "format": np.array(b"csr"),
    "shape": np.array([2, 3]),
    "indptr": np.array([0, 2, 3], dtype=np.int32),
    "indices": np.array([1, 2, 0], dtype=np.int32),
    "data": np.array([1.0, 2.0, 3.0], dtype=np.float32),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return what `solo_plugins embed` leaves, of two images."""
    save_file({"features": ROWS}, tmp_path / "features.safetensors")
    scipy.sparse.save_npz(tmp_path / "codes.npz", scipy.sparse.csr_matrix(ROWS))
    with (tmp_path / "images.csv").open("w", newline="") as file:
        rows = [("index", "name", "label", "class"), (0, "a", 1, "x"), (1, "b", 2, "y")]
        csv.writer(file).writerows(rows)
    (tmp_path / "meta.json").write_text(json.dumps({"checkpoint": "/a/b.ckpt"}))
    return tmp_path


def _arrays(**changes: Any) -> Callable[[Path], Any]:
    return lambda path: np.savez(path, **{**ARRAYS, **changes})


def _bomb(path: Path) -> None:
    """Write zeros that are packed a thousand times, more than are unpacked."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in range(9):
            archive.writestr(f"{name}.npy", bytes(2**20))
    # Sizes are what the list at the end says: twelve bytes from each entry's signature on the CRC
    content = bytearray(path.read_bytes())
    place = -1
    while (place := content.find(b"PK\x01\x02", place + 1)) >= 0:
        content[place + 24 : place + 28] = (2**31 - 1).to_bytes(4, "little")
    path.write_bytes(content)


def _claims(path: Path) -> None:
    """Write an array whose header says that it has 10**12 numbers."""
    header = io.BytesIO()
    shape = {"descr": "<f4", "fortran_order": False, "shape": (10**12,)}
    np.lib.format.write_array_header_1_0(header, shape)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.npy", header.getvalue() + bytes(16))


CODES = {
    "bomb": (_bomb, "and unpacks to"),
    "claims": (_claims, "says that it has 4000000000000 bytes"),
    "objects": (_arrays(data=np.array([{}, 1, 2], dtype=object)), "of object|has_object|allow_p"),
    "outside": (_arrays(indices=np.array([1, 2, 10**6], dtype=np.int32)), "cannot be read"),
    "negative": (_arrays(indices=np.array([1, 2, -5], dtype=np.int32)), "cannot be read"),
    "pointers": (_arrays(indptr=np.array([0, 900, 3], dtype=np.int32)), "cannot be read"),
    "wide": (_arrays(shape=np.array([2, 2**40])), "more than 1048576"),
    "long": (_arrays(shape=np.array([3, 3]), indptr=np.array([0, 2, 3, 3])), "code for each image"),
    "kind": (_arrays(format=np.array(b"csc")), "cannot be read"),
    "complex": (_arrays(data=ARRAYS["data"].astype(complex)), "it is csr of complex128"),
    "no archive": (lambda path: path.write_bytes(b"PK\x03\x04 no"), "cannot be read"),
    "empty": (lambda path: path.write_bytes(b""), "cannot be read"),
}


@pytest.mark.parametrize("kind", CODES)
def test_hostile_codes_are_one_line(kind: str, folder: Path) -> None:
    write, match = CODES[kind]
    write(folder / "codes.npz")
    with pytest.raises(ConfigurationError, match=match) as caught:
        _ = Embeddings(folder).codes
    assert "codes" in str(caught.value)
    assert "\n" not in str(caught.value)


FEATURES = {
    "other name": lambda path: save_file({"x": ROWS}, path),
    "one number": lambda path: save_file({"features": ROWS[0]}, path),
    "too many": lambda path: save_file({"features": np.tile(ROWS, (9, 1))}, path),
    "whole": lambda path: save_file({"features": ROWS.astype(np.int8)}, path),
    "header": lambda path: path.write_bytes((2**60).to_bytes(8, "little") + b"{}"),
    "claims": lambda path: path.write_bytes(
        (64).to_bytes(8, "little")
        + b'{"features":{"dtype":"F32","shape":[2,9],"data_offsets":[0,72]}}'
    ),
}


@pytest.mark.parametrize("kind", FEATURES)
def test_hostile_features_are_one_line(kind: str, folder: Path) -> None:
    FEATURES[kind](folder / "features.safetensors")
    with pytest.raises(ConfigurationError, match=r"features\.safetensors' cannot be read: "):
        _ = Embeddings(folder).features


@pytest.mark.parametrize("kind", ["pipe", "folder", "loop", "dangling", "device"])
@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("meta.json", "meta"),
        ("images.csv", "images"),
        ("codes.npz", "codes"),
        ("features.safetensors", "features"),
    ],
)
def test_what_stands_in_a_files_place_is_a_line(
    name: str, part: str, kind: str, folder: Path, put_instead: Callable
) -> None:
    put_instead(kind, folder / name)
    with pytest.raises(ConfigurationError, match=rf"{name}' cannot be (read|used): "):
        getattr(Embeddings(folder), part)


@pytest.mark.parametrize("value", [None, 5, ["a"]], ids=str)
def test_a_checkpoint_that_is_no_path_is_one_line(value: Any, folder: Path) -> None:
    (folder / "meta.json").write_text(json.dumps({"checkpoint": value}))
    with pytest.raises(ConfigurationError, match="to name the `checkpoint` but got"):
        _ = Embeddings(folder).checkpoint


def test_what_is_whole_is_read(folder: Path) -> None:
    found = Embeddings(folder)
    np.testing.assert_array_equal(found.codes.toarray(), ROWS)
    np.testing.assert_array_equal(found.features, ROWS)
