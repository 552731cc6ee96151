# SPDX-License-Identifier: MIT
"""The maths, all of it in one fresh process, needs nothing but torch."""

import subprocess
import sys

ROOMS = "distribution, generalized_gaussian, directions, rdmreg, sliced, projector, sparsity"
FORBIDDEN = {"lightning", "pytorch_lightning", "solo", "omegaconf", "hydra", "scipy", "timm"}


def test_the_maths_rooms_together_import_torch_alone() -> None:
    code = (
        f"import sys; from solo_plugins.rectified_lpjepa import {ROOMS};"
        f"print(*sorted({FORBIDDEN!r} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout.strip() == ""
