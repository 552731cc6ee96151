# SPDX-License-Identifier: MIT
"""Optimizers and schedules by main's names, for the release whose LARS sees stale gradients."""

__all__ = ["SCHEDULERS", "build_optimizer", "build_scheduler", "configure"]

from collections.abc import Callable, Sequence
from typing import Any

import torch
from omegaconf import DictConfig
from timm.optim import Lars
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from solo_plugins.errors import one_of
from solo_plugins.framework.pypi.bridge.schedule import (
    CosineAnnealingLR,
    LinearWarmupCosineAnnealingLR,
    MultiStepLR,
)

_OPTIMIZERS = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
SCHEDULERS = ("warmup_cosine", "cosine", "step", "none")

Group = dict[str, Any]


def configure(
    model: Any, groups: Sequence[Group], rates: tuple[float, float]
) -> Optimizer | tuple[list[Optimizer], list[dict[str, Any]]]:
    """Build what main's ``configure_optimizers`` would.

    Args:
        model: a method or linear model; its ``cfg``, ``lr``, ``max_epochs`` and trainer are read.
        groups: parameter groups with, optionally, rates and decays of their own.
        rates: the warm-up's first rate and the cosine's last.

    Returns:
        What Lightning expects.
    """
    optimizer = build_optimizer(groups, model.cfg, model.lr)
    scheduler = build_scheduler(
        optimizer,
        model.cfg,
        rates=rates,
        steps_per_epoch=lambda: model.trainer.estimated_stepping_batches / model.max_epochs,
    )
    return optimizer if scheduler is None else ([optimizer], [scheduler])


def build_optimizer(groups: Sequence[Group], cfg: DictConfig, lr: float) -> Optimizer:
    """Build the optimizer that main's ``configure_optimizers`` would.

    Args:
        groups: parameter groups with, optionally, rates and decays of their own.
        cfg: the configuration; ``optimizer`` is read.
        lr: the learning rate of groups without one.

    Returns:
        The optimizer. LARS is timm's, whose step is the same as that of main's (a test compares
        them): weights are adapted whatever their decay, and with ``exclude_bias_n_norm`` biases and
        norms are neither adapted nor decayed.

    Raises:
        ConfigurationError: if ``optimizer.name`` is unknown.
    """
    name, kwargs = cfg.optimizer.name, dict(cfg.optimizer.kwargs)
    groups = [{**group, "params": list(group["params"])} for group in groups]
    if cfg.optimizer.exclude_bias_n_norm_wd:
        groups = _split(groups, small={"weight_decay": 0.0})
    if name == "lars":
        lars = {
            "trust_coeff": kwargs.pop("eta", 1e-3),
            "trust_clip": kwargs.pop("clip_lr", False),
            "always_adapt": True,
        }
        if kwargs.pop("exclude_bias_n_norm", False):
            groups = _split(groups, small={"weight_decay": 0.0, "always_adapt": False})
        return Lars(groups, lr=lr, weight_decay=cfg.optimizer.weight_decay, **lars, **kwargs)
    if name not in _OPTIMIZERS:
        raise one_of("optimizer.name", name, [*_OPTIMIZERS, "lars"])
    return _OPTIMIZERS[name](groups, lr=lr, weight_decay=cfg.optimizer.weight_decay, **kwargs)


def build_scheduler(
    optimizer: Optimizer,
    cfg: DictConfig,
    *,
    rates: tuple[float, float],
    steps_per_epoch: Callable[[], float],
) -> dict[str, Any] | None:
    """Build the learning-rate schedule that main's ``configure_optimizers`` would.

    Args:
        optimizer: the optimizer to schedule; a group with a true ``static_lr`` keeps its base rate
            from the second step on.
        cfg: the configuration; ``scheduler`` and ``max_epochs`` are read.
        rates: the warm-up's first rate and the cosine's last.
        steps_per_epoch: asked for the number of optimizer steps in an epoch if it matters.

    Returns:
        Lightning's dictionary for a scheduler, or None for ``scheduler.name: none``.

    Raises:
        ConfigurationError: if ``scheduler.name`` is unknown.
    """
    name, interval = cfg.scheduler.name, cfg.scheduler.interval
    if name not in SCHEDULERS:
        raise one_of("scheduler.name", name, SCHEDULERS)
    if name == "none":
        return None
    scheduler: LRScheduler
    if name == "step":
        scheduler = MultiStepLR(optimizer, list(cfg.scheduler.lr_decay_steps or []))
        return {"scheduler": scheduler, "interval": "epoch"}
    unit = steps_per_epoch() if interval == "step" else 1
    if name == "cosine":
        scheduler = CosineAnnealingLR(optimizer, round(cfg.max_epochs * unit), eta_min=rates[1])
    else:
        scheduler = LinearWarmupCosineAnnealingLR(
            optimizer,
            warmup_epochs=cfg.scheduler.warmup_epochs * unit,
            max_epochs=cfg.max_epochs * unit,
            warmup_start_lr=rates[0],
            eta_min=rates[1],
        )
    return {"scheduler": scheduler, "interval": interval}


def _split(groups: Sequence[Group], *, small: Group) -> list[Group]:
    """Move parameters of at most one dimension into groups of their own with other settings."""
    out = []
    for group in groups:
        named = {"name": f"{group['name']}-1d"} if "name" in group else {}
        one_d: list[nn.Parameter] = [p for p in group["params"] if p.ndim <= 1]
        rest: list[nn.Parameter] = [p for p in group["params"] if p.ndim > 1]
        out += [{**group, "params": rest}] if rest else []
        out += [{**group, **named, "params": one_d, **small}] if one_d else []
    return out
