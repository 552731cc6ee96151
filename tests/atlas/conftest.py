# SPDX-License-Identifier: MIT
"""Embeddings made by hand: a folder of images, sparse codes with a dead and an always-on output."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from PIL import Image

CLASSES = ("ape", "<script>window.bad=1</script>", "a \"b\" & 'c'")
DEAD, ALWAYS = 2, 5


@pytest.fixture(scope="session")
def make_embeddings() -> Callable[..., Path]:
    """Return a function that leaves what `solo_plugins embed` does: 30 images, 8 outputs."""

    def make(
        folder: Path, codes: np.ndarray | None = None, labelled: bool = True, **meta: Any
    ) -> Path:
        generator = np.random.default_rng(0)
        if codes is None:
            codes = generator.random((30, 8)) * (generator.random((30, 8)) < 0.4)
            codes[:10, 0] += 1  # an output for the first class
            codes[:, DEAD], codes[:, ALWAYS] = 0, 1 + generator.random(30)
        rows = []
        for number in range(len(codes)):
            kind = number * len(CLASSES) // len(codes)
            # a name that a folder of files can have: no slash of its own
            name = f"{kind}/<img src=x onerror='window.bad=1'>{number}.png"
            path = folder / "images" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (9, 7), (8 * number, 99, 9)).save(path)
            rows.append((number, name, kind if labelled else -1, CLASSES[kind] if labelled else ""))
        out = folder / "embeddings"
        out.mkdir()
        scipy.sparse.save_npz(out / "codes.npz", scipy.sparse.csr_matrix(codes.astype(np.float32)))
        with (out / "images.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("index", "name", "label", "class"), *rows])
        data = {"dataset": "folder", "root": str(folder / "images")}
        content = {
            "checkpoint": "/runs/<b>/last.ckpt",
            "method": "ours",
            "backbone": "net",
            "data": data,
        }
        (out / "meta.json").write_text(json.dumps({**content, **meta}))
        return out

    return make
