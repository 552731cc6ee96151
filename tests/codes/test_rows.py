# SPDX-License-Identifier: MIT
"""Rows that are written as they come, read by scipy and safetensors."""

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
from safetensors.numpy import load_file

from solo_plugins.codes.rows import RowWriter, join_csr, join_dense


@pytest.mark.parametrize(
    "sizes", [[[3, 2]], [[1], [], [4, 1]], [[0, 2]]], ids=["one", "three", "an empty batch"]
)
def test_rows_of_all_processes_are_joined_in_order(sizes: list, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    stems, everything = [], []
    for rank, batches in enumerate(sizes):
        stems.append(tmp_path / f"codes.{rank}")
        with RowWriter(stems[-1], sparse=True) as writer:
            for size in batches:
                rows = np.maximum(generator.standard_normal((size, 5)), 0).astype(np.float32)
                writer.write(rows)
                everything.append(rows)
    wanted = np.concatenate(everything)
    assert join_dense(stems, 5, tmp_path / "codes.safetensors", "codes") == len(wanted)
    assert join_csr(stems, 5, tmp_path / "codes.npz") == np.count_nonzero(wanted)
    np.testing.assert_array_equal(load_file(tmp_path / "codes.safetensors")["codes"], wanted)
    found = scipy.sparse.load_npz(tmp_path / "codes.npz")
    assert found.has_canonical_format
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found.toarray(), wanted)
    assert len(list(tmp_path.iterdir())) == 2
