# SPDX-License-Identifier: MIT
"""The benchmark of active fractions against what a run logs of the same images."""

import json
from collections.abc import Callable

import pytest

from solo_plugins.training.pretrain import pretrain

pytestmark = pytest.mark.usefixtures("methods", "lightning_quiet")


def test_the_active_fraction_of_validation_images_is_the_logged_one(
    make_cfg: Callable, benchmark: Callable
) -> None:
    whole = {"max_epochs": 1, "limit_val_batches": 1.0}
    result = pretrain(make_cfg(method_kwargs__target_active_fraction=0.3, **whole))
    done = benchmark("active_fraction", str(result.folder), "--images", "360")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout.splitlines()[-1])["fractions"].values()
    logged = json.loads((result.folder / "summary.json").read_text())
    assert row["target"] == pytest.approx(0.3)
    assert row["validation"] == pytest.approx(logged["val_l0_sparsity_metric"], abs=1e-4)
    assert all(0 < fraction < 1 for fraction in row.values())
