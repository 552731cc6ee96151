# SPDX-License-Identifier: MIT
"""The schedule of the target's active fraction against its formula."""

import math

import pytest

from solo_plugins.methods.rectified_lpjepa.control import scheduled_active_fraction


def _log_odds(fraction: float) -> float:
    return math.log(fraction / (1 - fraction))


@pytest.mark.parametrize("progress", [0.0, 0.2, 0.4, 0.6, 0.8, 1.0])
@pytest.mark.parametrize("target", [0.02, 0.3, 0.9])
def test_the_warm_up_is_a_line_in_log_odds_from_one_half(target: float, progress: float) -> None:
    got = scheduled_active_fraction(target, warmup=0.8, progress=progress)
    assert _log_odds(got) == pytest.approx(_log_odds(target) * min(1.0, progress / 0.8))


@pytest.mark.parametrize("progress", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("target", [0.05, 1.0])
def test_without_a_warm_up_it_is_the_target_at_once(target: float, progress: float) -> None:
    assert scheduled_active_fraction(target, warmup=0.0, progress=progress) == target
