# SPDX-License-Identifier: MIT
"""The controller of the target's share, on a made-up network that always misses it."""

import math

import pytest
import torch

from solo_plugins.rectified_lpjepa.control import SparsityController


def _log_odds(share: float) -> float:
    return math.log(share / (1 - share))


@pytest.mark.parametrize("asked", [0.02, 0.3, 0.9])
def test_the_warm_up_is_a_line_in_log_odds_from_one_half(asked: float) -> None:
    controller = SparsityController(asked, warmup=0.8)
    steps = [_log_odds(controller.wanted(progress)) for progress in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)]
    line = [_log_odds(asked) * part for part in (0, 0.25, 0.5, 0.75, 1, 1)]
    assert steps == pytest.approx(line)
    assert controller.aim(0.4) == controller.wanted(0.4)


@pytest.mark.parametrize("bias", [-0.8, 0.8])
@pytest.mark.parametrize("asked", [0.05, 0.5])
def test_what_a_network_misses_is_made_up_for(asked: float, bias: float) -> None:
    controller = SparsityController(asked, rate=0.05)
    share = math.nan
    for _ in range(400):
        share = 1 / (1 + math.exp(-_log_odds(controller.aim(1.0)) - bias))
        controller.update(torch.tensor(share), 1.0)
    assert share == pytest.approx(asked, rel=1e-3)
    assert float(controller.offset) == pytest.approx(-bias, abs=1e-2)


def test_the_offset_is_bounded() -> None:
    controller = SparsityController(0.05, rate=1.0)
    for _ in range(100):
        controller.update(torch.tensor(1.0), 1.0)
    assert float(controller.offset) == -3.0
    assert 0.05 / 20.1 < controller.aim(1.0) < 0.05


def test_without_a_rate_only_the_share_is_followed() -> None:
    controller = SparsityController(0.05)
    controller.update(torch.tensor(0.4), 1.0)
    assert float(controller.share) == pytest.approx(0.4)
    assert controller.aim(1.0) == 0.05


def test_the_state_is_in_the_checkpoint() -> None:
    first, second = (SparsityController(0.05, rate=0.1) for _ in range(2))
    for share in (0.2, 0.3):
        first.update(torch.tensor(share), 1.0)
    second.load_state_dict(first.state_dict())
    assert second.aim(1.0) == first.aim(1.0)
    assert "rate=0.1" in repr(first)
