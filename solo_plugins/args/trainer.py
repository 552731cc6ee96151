# SPDX-License-Identifier: MIT
"""The settings of Lightning's trainer that a configuration may hold, by the trainer's signature."""

__all__ = ["NOT_AVAILABLE", "TrainerSettings", "by_signature", "check_together", "precisions"]

import importlib.util
import inspect
import re
from functools import cache
from typing import Annotated, Any, Literal, TypeAlias, get_args, get_type_hints

from lightning.pytorch import Trainer
from lightning.pytorch.strategies import StrategyRegistry
from omegaconf import DictConfig, OmegaConf
from pydantic import Field, model_validator
from typing_extensions import Self

from solo_plugins.args.kinds import (
    LIMIT,
    Block,
    Choices,
    Count,
    Flag,
    Follows,
    NonNegative,
    NonNegativeInt,
    Rule,
    broken,
    is_integer,
    is_number,
    left,
)
from solo_plugins.errors import ConfigurationError

_LEFT = left("Lightning's")
_UNITS = {"weeks", "days", "hours", "minutes", "seconds"}
_DEVICES = "a positive number, a list of GPUs or auto"
_STRATEGY = "auto, ddp or another name that Lightning has"
_PRECISION = "32-true, 16-mixed, bf16-mixed or another name that Lightning has"
_TIME = "DD:HH:MM:SS, or a block of weeks, days, hours, minutes or seconds"
_TIMES = "a positive number of steps, or a part of an epoch above 0.0 and at most 1.0"
_SANITY = "a non-negative integer, or -1 for all"
# What Lightning's trainer takes and a configuration cannot set, with the reason.
NOT_AVAILABLE = {
    "barebones": "a run logs and keeps checkpoints",
    "callbacks": "a YAML holds no objects",
    "default_root_dir": "`checkpoint.dir` says where runs lie",
    "enable_checkpointing": "`checkpoint.enabled` is the setting for it",
    "limit_predict_batches": "nothing is predicted",
    "limit_test_batches": "nothing is tested",
    "logger": "a run logs to metrics.csv, and by `wandb.enabled` to wandb",
    "model_registry": "no run is uploaded",
    "overfit_batches": "`limit_train_batches` leaves images out",
    "plugins": "a YAML holds no objects",
    "use_distributed_sampler": "the data module shares images out by itself",
}
_PLAIN = {bool, int, float, str, type(None)}


def precisions() -> list[int | str]:
    """List the precisions that the installed Lightning knows and this machine can have."""
    found = [name for name in _values(_hints()["precision"]) if isinstance(name, int | str)]
    engine = importlib.util.find_spec("transformer_engine") is not None
    return [name for name in found if engine or not str(name).startswith("transformer-engine")]


def by_signature() -> dict[str, Any]:
    """List what differs between :class:`TrainerSettings` and the installed Lightning.

    Returns:
        Fields for pydantic's ``create_model``: settings of plain values that a newer Lightning has,
        settings that an older one lacks, and those of ``NOT_AVAILABLE``, all to be left out.
    """
    known, hints = set(TrainerSettings.model_fields), _hints()
    newer = {name for name in set(hints) - known if {*_values(hints[name])} <= _PLAIN}
    reasons = NOT_AVAILABLE | dict.fromkeys(known - set(hints), "the installed Lightning lacks it")
    fields: dict[str, Any] = {name: (hints[name], _LEFT) for name in newer - set(reasons)}
    for name, reason in reasons.items():
        never = Annotated[Any, Follows(lambda _: False), Rule(f"left out, {reason},")]
        fields[name] = (never, _LEFT)
    return fields


@cache
def _hints() -> dict[str, Any]:
    hints = get_type_hints(Trainer.__init__)  # with that of what is returned
    names = inspect.signature(Trainer.__init__).parameters
    return {name: hints[name] for name in names if name in hints}


def _values(part: Any) -> list[Any]:
    inside = get_args(part)
    return [value for one in inside for value in _values(one)] if inside else [part]


def _strategies() -> list[str]:
    return ["auto", *StrategyRegistry.available_strategies()]


def _strict(value: Any) -> bool:
    return isinstance(value, bool) or value == "warn"


def _whole(value: Any) -> bool:
    return is_integer(value) and 0 < value <= LIMIT


def _times(value: Any) -> bool:
    return _whole(value) or (isinstance(value, float) and 0 < value <= 1)


def _limit(value: Any) -> bool:
    return _times(value) or (is_number(value) and value == 0)


def _steps(value: Any) -> bool:
    return (is_integer(value) and value == -1) or _whole(value)


def _trial(value: Any) -> bool:
    return isinstance(value, bool) or value == 0 or _whole(value)


def _time(value: Any) -> bool:
    if isinstance(value, str):
        return re.fullmatch(r"[0-9]{1,4}:[0-9]{2}:[0-9]{2}:[0-9]{2}", value) is not None
    if not isinstance(value, dict) or not value or not {*value} <= _UNITS:
        return False
    return all(is_number(number) and 0 <= number <= 10**5 for number in value.values())


def _devices(value: Any) -> bool:
    if isinstance(value, str):
        number = value.isascii() and value.isdigit() and len(value) < 5
        return value in ("auto", "-1") or (number and int(value) > 0)
    if isinstance(value, list):
        distinct = len({*map(str, value)}) == len(value) > 0
        return distinct and all(is_integer(one) and 0 <= one < 4096 for one in value)
    return is_integer(value) and (value == -1 or 0 < value <= 4096)


_Limit: TypeAlias = Annotated[
    Any, Follows(_limit), Rule("a number of steps, or a part of them from 0.0 to 1.0")
]


class TrainerSettings(Block):
    """Lightning's trainer.

    Args:
        accelerator: where to run; without a GPU a configuration for one runs on the CPU.
        devices: how many GPUs or, on the CPU, processes; or which GPUs; -1 or ``auto`` for all.
        num_nodes: the number of machines.
        strategy: Lightning's name of how processes work together; nothing asks for it if there is
            one process alone.
        precision: of the arithmetic; float16 becomes float32 on the CPU.
        max_epochs: the number of epochs.
        min_epochs: the number of epochs before which a callback stops nothing.
        max_steps: the number of steps after which the run ends, too.
        min_steps: the number of steps before which a callback stops nothing.
        max_time: the time that this part of the run may take: DD:HH:MM:SS, or a block of units.
        fast_dev_run: a trial of one step, or of so many, that leaves nothing.
        limit_train_batches: steps of an epoch.
        limit_val_batches: steps of a validation.
        val_check_interval: steps from one validation to the next.
        check_val_every_n_epoch: epochs from one validation to the next.
        num_sanity_val_steps: validation steps before training; -1 for all.
        log_every_n_steps: steps from one row of the log to the next.
        enable_autolog_hparams: let Lightning log the model's own hyperparameters.
        enable_progress_bar: show a progress bar; by default in a terminal alone.
        enable_model_summary: print the network's parts and their sizes.
        accumulate_grad_batches: batches whose gradients make one step.
        gradient_clip_val: the largest gradient.
        gradient_clip_algorithm: clip the gradient's ``norm``, or each ``value`` of it.
        deterministic: use torch's deterministic operations alone, or ``warn`` of others.
        benchmark: let cuDNN choose its operations by trying them.
        inference_mode: validate in torch's ``inference_mode``, not ``no_grad``.
        profiler: measure where the time goes, and print it.
        detect_anomaly: let torch find the operation that gave NaN; slow.
        sync_batchnorm: compute batch statistics of all processes, on GPUs.
        reload_dataloaders_every_n_epochs: epochs after which loaders are built anew; 0 for never.
    """

    accelerator: Literal["auto", "gpu", "cuda", "cpu"] = "auto"
    devices: Annotated[Any, Follows(_devices), Rule(_DEVICES)] = 1
    num_nodes: Annotated[int, Field(gt=0, le=4096), Rule("a positive integer")] = 1
    strategy: Annotated[str, Choices(_strategies), Rule(_STRATEGY)] | None = None
    precision: Annotated[Any, Choices(precisions), Rule(_PRECISION)] = "32-true"
    max_epochs: Count
    min_epochs: NonNegativeInt | None = _LEFT
    max_steps: Annotated[Any, Follows(_steps), Rule("a positive integer, or -1 for any")] = _LEFT
    min_steps: NonNegativeInt | None = _LEFT
    max_time: Annotated[Any, Follows(_time), Rule(_TIME)] | None = _LEFT
    fast_dev_run: Annotated[Any, Follows(_trial), Rule("true, false or a number of steps")] = _LEFT
    limit_train_batches: _Limit | None = _LEFT
    limit_val_batches: _Limit | None = _LEFT
    val_check_interval: Annotated[Any, Follows(_times), Rule(_TIMES)] | None = _LEFT
    check_val_every_n_epoch: Count | None = _LEFT
    num_sanity_val_steps: Annotated[int, Field(ge=-1, le=LIMIT), Rule(_SANITY)] | None = _LEFT
    log_every_n_steps: NonNegativeInt | None = _LEFT
    enable_autolog_hparams: Flag = _LEFT
    enable_progress_bar: Flag | None = _LEFT
    enable_model_summary: Flag | None = _LEFT
    accumulate_grad_batches: Count = _LEFT
    gradient_clip_val: NonNegative | None = _LEFT
    gradient_clip_algorithm: Literal["norm", "value"] | None = _LEFT
    deterministic: Annotated[Any, Follows(_strict), Rule("true, false or warn")] | None = _LEFT
    benchmark: Flag | None = _LEFT
    inference_mode: Flag = _LEFT
    profiler: Literal["simple", "advanced", "pytorch"] | None = _LEFT
    detect_anomaly: Flag = _LEFT
    sync_batchnorm: Flag = _LEFT
    reload_dataloaders_every_n_epochs: NonNegativeInt = _LEFT

    @model_validator(mode="after")
    def _validates(self) -> Self:
        if self.check_val_every_n_epoch is None and not is_integer(self.val_check_interval):
            raise broken(
                "check_val_every_n_epoch", "set, or `val_check_interval` to be a number of steps"
            )
        return self


def check_together(cfg: DictConfig) -> None:
    """Refuse settings of which one would be ignored for what another one says.

    Args:
        cfg: the configuration with defaults.

    Raises:
        ConfigurationError: naming the key, the rule and the value.
    """
    for key in ("monitor", "keep_prev", "every_n_steps", "every_n_minutes"):
        if not cfg.checkpoint.enabled and cfg.checkpoint.get(key):
            raise ConfigurationError(
                f"Expected `checkpoint.{key}` to be left out with `checkpoint.enabled: false` but "
                f"got {cfg.checkpoint[key]!r}."
            )
    monitored = cfg.checkpoint.get("monitor") or ""
    drawn = "auto_umap" in cfg and cfg.auto_umap.enabled
    if monitored.startswith("val_") or drawn:
        _check_validated(cfg, "auto_umap.enabled" if drawn else "checkpoint.monitor")
    if cfg.get("gradient_clip_algorithm") and not cfg.get("gradient_clip_val"):
        raise ConfigurationError(
            "Expected `gradient_clip_val` to be set with `gradient_clip_algorithm` but got "
            f"{cfg.get('gradient_clip_val')!r}."
        )
    least, most = cfg.get("min_steps") or 0, cfg.get("max_steps") or -1
    if 0 < most < least:
        raise ConfigurationError(
            f"Expected `min_steps` to be at most `max_steps`, which is {most}, but got {least}."
        )


def _check_validated(cfg: DictConfig, key: str) -> None:
    """Refuse a setting that needs a validation where there is to be none."""
    every, limit = cfg.get("check_val_every_n_epoch", 1), cfg.get("limit_val_batches", 1)
    found = {"limit_val_batches": limit} if limit == 0 else {}
    if not cfg.get("fast_dev_run") and every is not None and every > cfg.max_epochs > 0:
        found = {"check_val_every_n_epoch": every}
    for name, value in found.items():
        raise ConfigurationError(
            f"Expected `{name}` to leave at least one validation with `{key}: "
            f"{OmegaConf.select(cfg, key)}`, and `max_epochs: {cfg.max_epochs}`, but got {value!r}."
        )
