# SPDX-License-Identifier: MIT
"""The blocks ``optimizer`` and ``scheduler``, and the hardware that rates are scaled for."""

__all__ = ["check_optimizer", "schedule_notes", "settle_hardware"]

from typing import Any

from omegaconf import DictConfig, OmegaConf

from solo_plugins.args.hardware import Hardware, resolve
from solo_plugins.errors import ConfigurationError

# solo-learn main's defaults
_KWARGS: dict[str, dict[str, Any]] = {
    "sgd": {"momentum": 0.9},
    "lars": {"momentum": 0.9, "eta": 1e-3, "clip_lr": False, "exclude_bias_n_norm": False},
    "adam": {},
    "adamw": {"betas": [0.9, 0.999]},
}
# What each schedule reads of `scheduler`, on both releases of solo-learn.
_READ = {
    "none": (),
    "step": ("lr_decay_steps",),
    "cosine": ("min_lr", "interval"),
    "warmup_cosine": ("warmup_epochs", "warmup_start_lr", "min_lr", "interval"),
}


def check_optimizer(cfg: DictConfig) -> None:
    """Fill in ``optimizer.kwargs``, and check what settings of two blocks have to do together.

    Args:
        cfg: the configuration with defaults, changed in place.

    Raises:
        ConfigurationError: if settings do not go together.
    """
    if cfg.scheduler.name == "step" and not cfg.scheduler.lr_decay_steps:
        raise ConfigurationError(
            "Expected `scheduler.lr_decay_steps` to list epochs with `scheduler.name: step` but "
            f"got {cfg.scheduler.lr_decay_steps!r}."
        )
    defaults = OmegaConf.create(_KWARGS[cfg.optimizer.name])
    kwargs: Any = OmegaConf.merge(defaults, cfg.optimizer.kwargs)
    cfg.optimizer.kwargs = kwargs
    if kwargs.get("nesterov") and (not kwargs.get("momentum") or kwargs.get("dampening")):
        raise ConfigurationError(
            "Expected `optimizer.kwargs.nesterov` to be set with a `momentum` above 0 and a "
            f"`dampening` of 0 only but got {kwargs.nesterov} with {kwargs.get('momentum')} and "
            f"{kwargs.get('dampening', 0)}."
        )


def schedule_notes(asked: DictConfig, cfg: DictConfig) -> list[str]:
    """Say what of a schedule is probably not meant.

    Args:
        asked: the configuration as composed by hydra; defaults that are not read are no fault.
        cfg: the configuration with defaults, and a schedule that was checked.

    Returns:
        A line for settings that the schedule does not read, and one for a warm-up that does not
        end.
    """
    name, notes = cfg.scheduler.name, []
    unread = [f"`scheduler.{key}`" for key in asked.scheduler if key not in ("name", *_READ[name])]
    if unread:
        is_or_are = "is" if len(unread) == 1 else "are"
        notes.append(f"{' and '.join(unread)} {is_or_are} not read with `scheduler.name: {name}`.")
    warmup = cfg.scheduler.warmup_epochs
    if name == "warmup_cosine" and warmup > cfg.max_epochs > 0:
        notes.append(
            "The learning rate still rises when the run ends: `scheduler.warmup_epochs` is "
            f"{warmup}, `max_epochs` {cfg.max_epochs}."
        )
    return notes


def settle_hardware(cfg: DictConfig) -> Hardware:
    """Choose the hardware, and scale learning rates for it as solo-learn does.

    Rates are multiplied by the images of a step, in all processes, over 256.

    Args:
        cfg: the configuration with defaults, changed in place.

    Returns:
        The hardware.
    """
    hardware = resolve(cfg)
    images = cfg.optimizer.batch_size * hardware.processes
    for name in {"lr", "classifier_lr"} & set(cfg.optimizer):
        cfg.optimizer[name] *= images / 256
    for name in ("accelerator", "devices", "precision", "sync_batchnorm"):
        cfg[name] = getattr(hardware, name)
    return hardware
