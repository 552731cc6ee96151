# SPDX-License-Identifier: MIT
"""The maths, all of it in one fresh process, needs nothing but torch, and torchmetrics to count."""

import subprocess
import sys

import pytest

ROOMS = (
    "distribution, generalized_gaussian, mean_shift, directions, rdmreg, sliced, activation, "
    "projector, control, sample_statistics, sparsity"
)
FRAMEWORKS = {"lightning", "pytorch_lightning", "solo", "omegaconf", "hydra", "timm"}


@pytest.mark.parametrize(
    ("rooms", "forbidden"),
    [
        pytest.param(ROOMS, {*FRAMEWORKS, "scipy", "torchmetrics"}, id="torch"),
        # torchmetrics, which Lightning has imported long before, imports scipy itself.
        pytest.param("diagnostics", FRAMEWORKS, id="torchmetrics"),
    ],
)
def test_the_maths_rooms_together_import_no_framework(rooms: str, forbidden: set[str]) -> None:
    code = (
        f"import sys; from solo_plugins.rectified_lpjepa import {rooms};"
        f"print(*sorted({forbidden!r} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout.strip() == ""
