# SPDX-License-Identifier: MIT
"""The configurations of ``main_linear.py`` and ``main_knn.py``: defaults, checks, inheritance.

Data, crop size and backbone are those of the pretraining run unless the YAML says otherwise.
"""

__all__ = ["FEATURES", "parse_knn_cfg", "parse_linear_cfg"]

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from omegaconf import DictConfig, ListConfig, OmegaConf

from solo_plugins.args.checks import (
    check_choice,
    check_flag,
    check_number,
    check_positive_integer,
)
from solo_plugins.args.dali import settle_dali
from solo_plugins.args.data import check_paths, settle_data
from solo_plugins.args.hardware import ACCELERATORS, Hardware
from solo_plugins.args.optimizer import check_optimizer, settle_hardware
from solo_plugins.args.schema import DEFAULTS, check_blocks, check_required, with_defaults
from solo_plugins.data.datasets import DATASETS
from solo_plugins.data.fraction import training_part
from solo_plugins.errors import ConfigurationError
from solo_plugins.framework import DISTANCES, size_settings
from solo_plugins.framework.defaults import MOMENTUM
from solo_plugins.runs.folder import RunFolder
from solo_plugins.runs.pretrained import Pretrained, find_pretrained

FEATURES = ("backbone", "projector")
_DATA = ("train_path", "val_path", "format", "fraction", "num_workers", "preload")
_SHARED: dict[str, Any] = {
    "pretrained_feature_extractor": None,
    "accelerator": "auto",
    "data": {"dataset": None, **{key: DEFAULTS["data"][key] for key in _DATA}},
    "backbone": {"name": None, "kwargs": {}},
    "performance": MOMENTUM["performance"],
    "dali": DEFAULTS["dali"],
}
_TAKEN = (
    "seed", "num_nodes", "strategy", "resume_from_checkpoint", "devices", "precision", "scheduler",
    "checkpoint", "auto_resume", "wandb",
)  # fmt: skip
LINEAR_DEFAULTS: dict[str, Any] = {
    **_SHARED,
    "data": {**_SHARED["data"], "shots": None},
    **{name: DEFAULTS[name] for name in _TAKEN},
    "optimizer": {**DEFAULTS["optimizer"], "layer_decay": 0.0},
    "pretrain_method": None,
    "features": "backbone",
    "finetune": False,
    "cache_features": False,
    "auto_augment": False,
    "label_smoothing": 0.0,
    "mixup": 0.0,
    "cutmix": 0.0,
}
_LINEAR_REQUIRED = {
    "": {"name", "max_epochs"},
    "optimizer": {"name", "batch_size", "lr", "weight_decay"},
    "scheduler": {"name"},
}
# `augmentations` are of solo-learn's linear YAMLs: crop size, mean and standard deviation.
_OPTIONAL = {"data": {"num_classes", "augmentations"}}
# solo-learn main's: main_knn.py has no default for k and temperature, its script tries these.
KNN_DEFAULTS: dict[str, Any] = {
    **_SHARED,
    "features": ["backbone", "projector"],
    "k": [1, 5, 20, 200],
    "temperature": [0.07],
    "distance": list(DISTANCES),
    "batch_size": 256,
    "max_distances": 5_000_000,
}
_SCHEDULES = ("step", "warmup_cosine", "none")


def parse_linear_cfg(cfg: DictConfig) -> tuple[DictConfig, Hardware, Pretrained]:
    """Check a linear evaluation's configuration and fill in what follows from it.

    Args:
        cfg: the configuration as composed by hydra.

    Returns:
        A new, resolved configuration, the hardware that it will run on, and the checkpoint.

    Raises:
        ConfigurationError: naming the key, the rule and the value.
    """
    cfg, pretrained = _start(cfg, LINEAR_DEFAULTS, _LINEAR_REQUIRED)
    check_choice("features", cfg.features, FEATURES)
    check_optimizer(cfg)
    check_choice("scheduler.name", cfg.scheduler.name, _SCHEDULES)
    if cfg.scheduler.name == "step" and not cfg.scheduler.lr_decay_steps:
        raise ConfigurationError(
            "Expected `scheduler.lr_decay_steps` to list epochs with `scheduler.name: step` but "
            f"got {cfg.scheduler.lr_decay_steps!r}."
        )
    _check_regularisation(cfg)
    _check_cache(cfg)
    _settle(cfg, pretrained)
    if cfg.auto_augment and cfg.data.format == "dali":
        raise ConfigurationError(
            "Expected `auto_augment` to be false with `data.format: dali`, which lacks timm's "
            f"random augmentation, but got {cfg.auto_augment!r}."
        )
    hardware = settle_hardware(cfg)
    settle_dali(cfg, on_gpu=hardware.accelerator == "gpu")
    return cfg, hardware, pretrained


def parse_knn_cfg(cfg: DictConfig) -> tuple[DictConfig, Pretrained]:
    """Check a nearest-neighbour evaluation's configuration and fill in what follows from it.

    Args:
        cfg: the configuration as composed by hydra; a single value stands for a list of one.

    Returns:
        A new, resolved configuration and the checkpoint.

    Raises:
        ConfigurationError: naming the key, the rule and the value.
    """
    cfg, pretrained = _start(cfg, KNN_DEFAULTS, {})
    _check_lists(cfg)
    check_positive_integer("batch_size", cfg.batch_size)
    check_positive_integer("max_distances", cfg.max_distances)
    check_choice("accelerator", cfg.accelerator, ACCELERATORS)
    _settle(cfg, pretrained)
    settle_dali(cfg, on_gpu=cfg.accelerator != "cpu" and torch.cuda.is_available())
    # the data module reads it there
    cfg.optimizer = {"batch_size": cfg.batch_size}
    return cfg, pretrained


def _check_lists(cfg: DictConfig) -> None:
    for key in ("features", "k", "temperature", "distance"):
        if not isinstance(cfg[key], ListConfig):
            cfg[key] = [cfg[key]]
        if not cfg[key]:
            raise ConfigurationError(f"Expected `{key}` to list at least one value but got [].")
    for key, choices in (("features", FEATURES), ("distance", DISTANCES)):
        for value in cfg[key]:
            check_choice(key, value, choices)
    for k in cfg.k:
        check_number("k", k, "a list of positive integers", lambda k: k > 0, integer=True)
    for temperature in cfg.temperature:
        rule = "a list of positive numbers"
        check_number("temperature", temperature, rule, lambda temperature: temperature > 0)


def _start(
    cfg: DictConfig, defaults: Mapping[str, Any], required: Mapping[str, set[str]]
) -> tuple[DictConfig, Pretrained]:
    check_blocks(cfg, defaults, required, _OPTIONAL, trains=bool(required))
    check_required(cfg, required)
    cfg = with_defaults(cfg, defaults)
    return cfg, find_pretrained(cfg.pretrained_feature_extractor)


def _check_regularisation(cfg: DictConfig) -> None:
    for key in ("label_smoothing", "mixup", "cutmix", "optimizer.layer_decay"):
        below = 1 if key == "label_smoothing" else float("inf")
        rule, value = f"a number from 0 to below {below}", OmegaConf.select(cfg, key)
        check_number(key, value, rule, partial(_in_range, below=below))
    if (cfg.mixup or cfg.cutmix) and cfg.optimizer.batch_size % 2:
        raise ConfigurationError(
            "Expected `optimizer.batch_size` to be even, images are mixed in pairs, but got "
            f"{cfg.optimizer.batch_size}."
        )
    for key in ("optimizer.layer_decay", "optimizer.exclude_bias_n_norm_wd"):
        value = OmegaConf.select(cfg, key)
        if value and not cfg.finetune:
            raise ConfigurationError(
                f"Expected `{key}` to be set with `finetune: true` only but got {value!r}."
            )


def _in_range(number: float, *, below: float) -> bool:
    return 0 <= number < below


def _check_cache(cfg: DictConfig) -> None:
    check_flag("cache_features", cfg.cache_features)
    for key in ("finetune", "auto_augment", "mixup", "cutmix"):
        if cfg.cache_features and cfg[key]:
            raise ConfigurationError(
                f"Expected `{key}` to be off with `cache_features: true`, the network sees each "
                f"image once and as it is, but got {cfg[key]!r}."
            )


def _settle(cfg: DictConfig, pretrained: Pretrained) -> None:
    """Take data, crop size and backbone over from the pretraining run, and check them."""
    cfg.pretrained_feature_extractor = str(pretrained.checkpoint)
    # A checkpoint that was trained on is another one: its results are not taken for the old one's.
    cfg.pretrained_modified = pretrained.checkpoint.stat().st_mtime_ns
    run = pretrained.cfg
    if run is not None and cfg.get("pretrain_method") not in (None, run.method):
        raise ConfigurationError(
            f"Expected `pretrain_method` to be that of the checkpoint, {run.method!r} in "
            f"{str(pretrained.source)!r}, but got {cfg.pretrain_method!r}; leave it out."
        )
    data = cfg.data
    if run is not None and data.dataset in (None, run.data.dataset):
        data.dataset = run.data.dataset
        for key in ("train_path", "val_path"):
            data[key] = data[key] or run.data.get(key)
    labelled = [name for name, i in DATASETS.items() if i.labelled and not i.downstream]
    check_choice("data.dataset", data.dataset, labelled)
    _check_data(data)
    data.no_labels = False
    settle_data(data)
    cfg.augmentations = [_augmentation(data, run)]
    _settle_backbone(cfg, pretrained)


def _check_data(data: DictConfig) -> None:
    check_choice("data.format", data.format, ("image_folder", "dali"))
    if "shots" in data:
        training_part(data)  # refuses what is none
    elif data.fraction != -1:
        raise ConfigurationError(
            "Expected `data.fraction` to be -1, neighbours are looked for among all images, but "
            f"got {data.fraction!r}."
        )
    check_flag("data.preload", data.preload)
    check_paths(data, validates=True)


def _augmentation(data: DictConfig, run: DictConfig | None) -> dict[str, Any]:
    """Find crop size and normalisation: the YAML's, else those of pretraining."""
    given = data.pop("augmentations", None) or {}
    trained = {} if run is None else run.augmentations[0]
    found = {
        key: given.get(key, trained.get(key))
        for key in ("crop_size", "mean", "std")
        if given.get(key, trained.get(key)) is not None
    }
    size = found.get("crop_size")
    if not isinstance(size, int) or size < 1:
        raise ConfigurationError(
            "Expected `data.augmentations.crop_size` to be a positive integer, there is no "
            f"pretraining configuration to take it from, but got {size!r}."
        )
    return found


def _settle_backbone(cfg: DictConfig, pretrained: Pretrained) -> None:
    """Fill in the backbone from the pretraining run, or check that the YAML says the same.

    Args:
        cfg: the evaluation's configuration with defaults; ``backbone`` is changed in place.
        pretrained: the checkpoint.

    Raises:
        ConfigurationError: if both say something and differ, or neither says anything.
    """
    given = cfg.backbone
    if pretrained.cfg is None:
        if given.name is None:
            raise ConfigurationError(
                f"Expected `backbone.name` to be set, there is no {RunFolder.CONFIGS} beside "
                f"{str(pretrained.checkpoint)!r} to take it from, but got None."
            )
        _take_sizes(cfg, add=True)
        return
    run = pretrained.cfg.backbone
    settings: dict[str, Any] = {"name": given.name} if given.name is not None else {}
    settings |= {f"kwargs.{name}": value for name, value in given.kwargs.items()}
    for name, value in settings.items():
        trained = OmegaConf.select(run, name)
        if value != trained:
            raise ConfigurationError(
                f"Expected `backbone.{name}` to be that of the checkpoint, {trained!r} in "
                f"{str(pretrained.source)!r}, but got {value!r}; leave it out."
            )
    cfg.backbone = run.copy()
    _take_sizes(cfg, add=False)


def _take_sizes(cfg: DictConfig, *, add: bool) -> None:
    block: Any = OmegaConf.to_container(cfg.backbone)
    kwargs = block.get("kwargs") or {}
    added = size_settings(cfg.backbone.name, kwargs, [cfg.augmentations[0].crop_size], add=add)
    cfg.backbone.kwargs = {**kwargs, **added}
