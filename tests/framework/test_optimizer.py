# SPDX-License-Identifier: MIT
"""LARS and the schedule against their formulas, and against solo-learn main's where it is."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor, nn

from solo_plugins.errors import ConfigurationError
from solo_plugins.framework import release
from solo_plugins.framework.pypi.bridge.optimizer import build_optimizer, build_scheduler
from solo_plugins.framework.pypi.bridge.schedule import LinearWarmupCosineAnnealingLR

STEPS, LR, DECAY, MOMENTUM, ETA = 4, 0.3, 1e-2, 0.9, 0.02


def _cfg(name: str = "lars", **kwargs: Any) -> Any:
    return OmegaConf.create(
        {
            "optimizer": {
                "name": name,
                "weight_decay": DECAY,
                "exclude_bias_n_norm_wd": False,
                "kwargs": kwargs,
            },
            "scheduler": {"name": "warmup_cosine", "interval": "step", "warmup_epochs": 2},
            "max_epochs": 10,
        }
    )


def _parameters() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(4, 3), (4,), (2, 4)]
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]


def _gradients() -> list[list[Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [
        [torch.randn(p.shape, generator=generator) for p in _parameters()] for _ in range(STEPS)
    ]


def _lars_by_formula(*, clip: bool, exclude: bool) -> list[Tensor]:
    """LARS with momentum; the last weight has no decay and is adapted all the same."""
    weights = [p.detach().double() for p in _parameters()]
    buffers = [torch.zeros_like(w) for w in weights]
    for gradients in _gradients():
        for i, gradient in enumerate(gradients):
            weight, step = weights[i], gradient.double()
            decay = 0.0 if i == 2 else DECAY
            if not (exclude and weight.ndim == 1):
                norm = weight.norm()
                rate = ETA * norm / (step.norm() + decay * norm + 1e-8)
                if clip:
                    rate = min(rate / LR, 1.0)
                step = (step + decay * weight) * rate
            buffers[i] = MOMENTUM * buffers[i] + step
            weights[i] = weight - LR * buffers[i]
    return weights


def _assert_follows_the_formula(
    optimizer: torch.optim.Optimizer,
    parameters: list[nn.Parameter],
    *,
    clip: bool,
    exclude: bool,
) -> None:
    for gradients in _gradients():
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient.clone()
        optimizer.step()
    for parameter, wanted in zip(
        parameters, _lars_by_formula(clip=clip, exclude=exclude), strict=True
    ):
        torch.testing.assert_close(parameter.detach().double(), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("exclude", [True, False])
def test_lars_is_its_formula(clip: bool, exclude: bool) -> None:
    parameters = _parameters()
    groups = [
        {"name": "backbone", "params": parameters[:2]},
        {"name": "classifier", "params": parameters[2:], "weight_decay": 0},
    ]
    settings = {"eta": ETA, "clip_lr": clip, "exclude_bias_n_norm": exclude, "momentum": MOMENTUM}
    optimizer = build_optimizer(groups, _cfg(**settings), LR)
    _assert_follows_the_formula(optimizer, parameters, clip=clip, exclude=exclude)


@pytest.mark.skipif(release() != "main", reason="needs solo-learn main's LARS")
@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("exclude", [True, False])
def test_the_formula_is_solo_learn_mains(clip: bool, exclude: bool) -> None:
    from solo.utils.lars import LARS

    parameters = _parameters()
    groups = [{"params": parameters[:2]}, {"params": parameters[2:], "weight_decay": 0}]
    optimizer = LARS(
        groups, LR, MOMENTUM, 0, DECAY, eta=ETA, clip_lr=clip, exclude_bias_n_norm=exclude
    )
    _assert_follows_the_formula(optimizer, parameters, clip=clip, exclude=exclude)


def test_group_names_stay_unique_when_groups_are_split() -> None:
    groups = [{"name": "backbone", "params": _parameters()}]
    optimizer = build_optimizer(groups, _cfg(exclude_bias_n_norm=True), LR)
    assert [group["name"] for group in optimizer.param_groups] == ["backbone", "backbone-1d"]
    assert [group["weight_decay"] for group in optimizer.param_groups] == [DECAY, 0]


@pytest.mark.parametrize(
    ("name", "kind"),
    [("sgd", torch.optim.SGD), ("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)],
)
def test_the_other_optimizers_are_torchs(name: str, kind: type) -> None:
    assert type(build_optimizer([{"params": _parameters()}], _cfg(name), LR)) is kind


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"`optimizer.name` to be one of .* got 'rmsprop'"):
        build_optimizer([{"params": _parameters()}], _cfg("rmsprop"), LR)
    cfg = _cfg()
    cfg.scheduler.name = "linear"
    with pytest.raises(ConfigurationError, match=r"`scheduler.name` to be one of .* got 'linear'"):
        build_scheduler(None, cfg, rates=(0, 0), steps_per_epoch=lambda: 1)


def _rates(make: Callable[..., Any], num_steps: int) -> list[list[float]]:
    groups = [{"params": [_parameters()[0]], "lr": 0.3}, {"params": [_parameters()[1]], "lr": 0.1}]
    optimizer = torch.optim.SGD(groups)
    scheduler, rates = make(optimizer), []
    for _ in range(num_steps):
        rates.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    return rates


def test_schedule_warms_up_linearly_and_ends_at_the_minimum() -> None:
    rates = _rates(lambda o: LinearWarmupCosineAnnealingLR(o, 5, 21, 0.01, 0.02), 22)
    first = [rate[0] for rate in rates]
    assert first[:5] == pytest.approx([0.01 + 0.29 * t / 4 for t in range(5)])
    cosine = [0.02 + 0.28 * (1 + math.cos(math.pi * t / 16)) / 2 for t in range(17)]
    assert first[5:] == pytest.approx(cosine)
    assert rates[21] == pytest.approx([0.02, 0.02])


@pytest.mark.skipif(release() != "main", reason="needs solo-learn main's schedule")
def test_schedule_is_solo_learn_mains() -> None:
    from solo.utils.lr_scheduler import LinearWarmupCosineAnnealingLR as SoloSchedule

    ours = _rates(lambda o: LinearWarmupCosineAnnealingLR(o, 5, 21, 0.01, 0.02), 21)
    theirs = _rates(lambda o: SoloSchedule(o, 5, 21, 0.01, 0.02), 21)
    for mine, other in zip(ours, theirs, strict=True):
        assert mine == pytest.approx(other)


@pytest.mark.parametrize("name", ["warmup_cosine", "cosine", "step"])
def test_static_groups_keep_their_rate_after_the_first_step(name: str) -> None:
    # On main it has it from the first call of the schedule's step() on.
    cfg = _cfg()
    cfg.scheduler.update({"name": name, "lr_decay_steps": [2, 4]})

    def make(optimizer: torch.optim.Optimizer) -> Any:
        optimizer.param_groups[1]["static_lr"] = True
        return build_scheduler(optimizer, cfg, rates=(0.01, 0.0), steps_per_epoch=lambda: 3.0)[
            "scheduler"
        ]

    rates = _rates(make, 8)
    assert rates[0] == pytest.approx([0.01, 0.01] if name == "warmup_cosine" else [0.3, 0.1])
    assert [rate[1] for rate in rates[1:]] == [0.1] * 7
    assert rates[7][0] < 0.3


def test_a_schedule_of_static_groups_is_saved_as_plain_values() -> None:
    groups = [{"params": [_parameters()[0]]}, {"params": [_parameters()[1]], "static_lr": True}]
    optimizer = torch.optim.SGD(groups, lr=0.3)
    made = build_scheduler(optimizer, _cfg(), rates=(0.0, 0.0), steps_per_epoch=lambda: 3.0)
    assert (made["interval"], made["scheduler"].max_epochs) == ("step", 30)
    assert not any(callable(value) for value in made["scheduler"].state_dict().values())
