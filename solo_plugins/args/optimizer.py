# SPDX-License-Identifier: MIT
"""The blocks ``optimizer`` and ``scheduler``, and the hardware that rates are scaled for."""

__all__ = ["check_optimizer", "settle_hardware"]

from typing import Any

from omegaconf import DictConfig, OmegaConf

from solo_plugins.args.checks import check_choice, check_number, check_positive_integer
from solo_plugins.args.hardware import Hardware, resolve

# solo-learn main's defaults
_KWARGS: dict[str, dict[str, Any]] = {
    "sgd": {"momentum": 0.9},
    "lars": {"momentum": 0.9, "eta": 1e-3, "clip_lr": False, "exclude_bias_n_norm": False},
    "adam": {},
    "adamw": {"betas": [0.9, 0.999]},
}


def check_optimizer(cfg: DictConfig) -> None:
    """Check ``max_epochs``, ``optimizer`` and ``scheduler``, and fill in ``optimizer.kwargs``.

    Args:
        cfg: the configuration with defaults, changed in place.

    Raises:
        ConfigurationError: if a value is not in its range or set.
    """
    check_positive_integer("max_epochs", cfg.max_epochs)
    check_positive_integer("optimizer.batch_size", cfg.optimizer.batch_size)
    for key in ("optimizer.lr", "optimizer.weight_decay", "scheduler.warmup_epochs"):
        value = OmegaConf.select(cfg, key)
        check_number(key, value, "a non-negative number", lambda number: number >= 0)
    check_choice("optimizer.name", cfg.optimizer.name, _KWARGS)
    check_choice("scheduler.interval", cfg.scheduler.interval, ("step", "epoch"))
    check_positive_integer("checkpoint.frequency", cfg.checkpoint.frequency)
    check_choice("checkpoint.mode", cfg.checkpoint.mode, ("max", "min"))
    if cfg.checkpoint.every_n_steps is not None:
        check_positive_integer("checkpoint.every_n_steps", cfg.checkpoint.every_n_steps)
    if (minutes := cfg.checkpoint.every_n_minutes) is not None:
        check_number("checkpoint.every_n_minutes", minutes, "positive", lambda number: number > 0)
    defaults = OmegaConf.create(_KWARGS[cfg.optimizer.name])
    cfg.optimizer.kwargs = OmegaConf.merge(defaults, cfg.optimizer.kwargs)


def settle_hardware(cfg: DictConfig) -> Hardware:
    """Choose the hardware, and scale learning rates for it as solo-learn does.

    Rates are multiplied by the images of a step, in all processes, over 256.

    Args:
        cfg: the configuration with defaults, changed in place.

    Returns:
        The hardware.

    Raises:
        ConfigurationError: if a setting of it does not exist.
    """
    hardware = resolve(cfg)
    images = cfg.optimizer.batch_size * hardware.num_devices * cfg.num_nodes
    for name in {"lr", "classifier_lr"} & set(cfg.optimizer):
        cfg.optimizer[name] *= images / 256
    for name in ("accelerator", "devices", "precision", "sync_batchnorm"):
        cfg[name] = getattr(hardware, name)
    return hardware
