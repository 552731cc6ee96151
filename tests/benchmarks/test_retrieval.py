# SPDX-License-Identifier: MIT
"""The benchmark of search against scikit-learn's neighbours of the same embeddings."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from solo_plugins.inference.embed import EmbedSettings, embed


@pytest.mark.usefixtures("methods")
def test_class_and_dense_recall_are_those_of_scikit_learns_neighbours(
    make_run: Callable, benchmark: Callable, tmp_path: Path
) -> None:
    run = make_run()
    train = embed(run, tmp_path / "train", settings=EmbedSettings(split="train"))
    test = embed(run, tmp_path / "test")
    done = benchmark("retrieval", str(train.folder), str(test.folder), "--m", "4", "--k", "5")
    assert done.returncode == 0, done.stderr
    rows = {row["way"]: row for row in json.loads(done.stdout.splitlines()[-1])["rows"]}
    judge = NearestNeighbors(metric="cosine", algorithm="brute")
    dense = judge.fit(train.features).kneighbors(test.features, 5)[1]
    same = train.labels[dense] == test.labels[:, None]
    # neighbours at the same distance, within rounding, may be others
    assert rows["features (32)"]["precision"] == pytest.approx(100 * same.mean(), abs=0.2)
    assert rows["features (32)"]["top1"] == pytest.approx(100 * same[:, 0].mean(), abs=0.6)
    (every,) = (row for way, row in rows.items() if way.startswith("codes, all"))
    codes = judge.fit(train.codes).kneighbors(test.codes, 5)[1]
    found = np.mean([len({*a} & {*b}) for a, b in zip(codes, dense, strict=True)]) / 5
    assert every["dense"] == pytest.approx(100 * found, abs=0.6)
    assert every["bytes"] == pytest.approx(8 * train.codes.nnz / 1437 + 4)
