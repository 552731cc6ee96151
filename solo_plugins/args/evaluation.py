# SPDX-License-Identifier: MIT
"""The configurations of ``main_linear.py`` and ``main_knn.py``: checks, defaults, inheritance.

Data, crop size and backbone are those of the pretraining run unless the YAML says otherwise.
"""

__all__ = ["parse_knn_cfg", "parse_linear_cfg"]

from collections.abc import Mapping
from typing import Any

import torch
from omegaconf import DictConfig, ListConfig, OmegaConf

from solo_plugins.args.dali import settle_dali
from solo_plugins.args.data import check_paths, settle_data
from solo_plugins.args.evaluated import KnnSettings, LinearSettings, linear_model
from solo_plugins.args.hardware import Hardware
from solo_plugins.args.models import defaults
from solo_plugins.args.optimizer import check_optimizer, settle_hardware
from solo_plugins.args.reading import plain, with_defaults
from solo_plugins.args.trainer import check_together
from solo_plugins.args.wording import check
from solo_plugins.data.datasets import DATASETS
from solo_plugins.data.fraction import training_part
from solo_plugins.errors import ConfigurationError, one_of
from solo_plugins.framework import size_settings
from solo_plugins.runs.folder import RunFolder
from solo_plugins.runs.pretrained import Pretrained, find_pretrained

_LINEAR, _KNN = defaults(LinearSettings), defaults(KnnSettings)


def parse_linear_cfg(cfg: DictConfig) -> tuple[DictConfig, Hardware, Pretrained]:
    """Check a linear evaluation's configuration and fill in what follows from it.

    Args:
        cfg: the configuration as composed by hydra.

    Returns:
        A new, resolved configuration, the hardware that it will run on, and the checkpoint.

    Raises:
        ConfigurationError: naming the key, the rule and the value.
    """
    given = plain(cfg)
    _check_program(given, "linear")
    optimizer = given.get("optimizer")
    check(linear_model(optimizer.get("name") if isinstance(optimizer, dict) else None), given)
    cfg = with_defaults(cfg, _LINEAR)
    pretrained = find_pretrained(cfg.pretrained_feature_extractor)
    check_optimizer(cfg)
    check_together(cfg)
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
    given = plain(cfg)
    _check_program(given, "knn")
    check(KnnSettings, given)
    cfg = with_defaults(cfg, _KNN)
    pretrained = find_pretrained(cfg.pretrained_feature_extractor)
    for key in ("features", "k", "temperature", "distance"):
        if not isinstance(cfg[key], ListConfig):
            cfg[key] = [cfg[key]]
    _settle(cfg, pretrained)
    settle_dali(cfg, on_gpu=cfg.accelerator != "cpu" and torch.cuda.is_available())
    # the data module reads it there
    cfg.optimizer = {"batch_size": cfg.batch_size}
    return cfg, pretrained


def _check_program(given: Mapping[str, Any], kind: str) -> None:
    """Refuse the YAML of a pretraining as a whole, not by its first unknown setting."""
    if "method" in given and "pretrained_feature_extractor" not in given:
        raise ConfigurationError(
            f"Expected a YAML for main_{kind}.py, as scripts/{kind}/ has them, but got one for "
            f"main_pretrain.py: it has `method`, {given['method']!r:.60}."
        )


def _check_regularisation(cfg: DictConfig) -> None:
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


def _check_cache(cfg: DictConfig) -> None:
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
    if data.dataset not in labelled:
        raise one_of("data.dataset", data.dataset, labelled)
    _check_data(data)
    data.no_labels = False
    settle_data(data)
    cfg.augmentations = [_augmentation(data, run)]
    _settle_backbone(cfg, pretrained)


def _check_data(data: DictConfig) -> None:
    if "shots" in data:
        training_part(data)  # refuses what is none
    elif data.fraction != -1:
        raise ConfigurationError(
            "Expected `data.fraction` to be -1, neighbours are looked for among all images, but "
            f"got {data.fraction!r}."
        )
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
