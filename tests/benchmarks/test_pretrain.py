# SPDX-License-Identifier: MIT
"""The benchmark of a training step: its parts."""

import json
from collections.abc import Callable

import pytest


@pytest.mark.slow
def test_a_step_is_split_into_its_parts(benchmark: Callable) -> None:
    # The median of two steps is their mean: the parts' are no more than the whole's, as medians of
    # three may be.
    done = benchmark(
        "pretrain", "--batch", "16", "--width", "16", "--projections", "32", "--crop", "16",
        "--rounds", "1", "--steps", "2", "--skip", "2", "--workers", "0", "--threads", "1",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert set(result["images_per_second"]) == {"rectified_lpjepa", "vicreg"}
    for method, split in result["split_ms"].items():
        assert split["batch"] >= split["forward"] + split["backward"] > 0
        assert split["forward"] >= split["regulariser"]
        assert (split["regulariser"] > 0) == (method == "rectified_lpjepa")
