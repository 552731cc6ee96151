# SPDX-License-Identifier: MIT
"""From what hydra composed to a configuration that the rest can rely on."""

__all__ = [
    "IMAGE_FOLDERS",
    "check_folder",
    "check_optimizer",
    "count_classes",
    "fill_optimizer_kwargs",
    "parse_cfg",
    "scale_rate",
]

import difflib
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from solo_plugins.args.checks import check_choice, check_number, check_positive_integer
from solo_plugins.args.hardware import Hardware, resolve
from solo_plugins.args.schema import DEFAULTS, check_keys
from solo_plugins.data.module import CLASSES, UNLABELLED
from solo_plugins.errors import ConfigurationError, nearest, one_of
from solo_plugins.framework import DISTANCES, METHODS, known_backbones, release

_DATASETS = (*CLASSES, "custom")
IMAGE_FOLDERS = ("imagenet", "imagenet100", "custom")
_OPTIMIZER_KWARGS: dict[str, dict[str, Any]] = {
    "sgd": {"momentum": 0.9},
    "lars": {"momentum": 0.9, "eta": 1e-3, "clip_lr": False, "exclude_bias_n_norm": False},
    "adam": {},
    "adamw": {"betas": [0.9, 0.999]},
}
# timm builds these for one image size, 224 unless it is told.
_SIZED = ("vit_", "swin_", "deit", "beit", "eva")


def parse_cfg(cfg: DictConfig) -> tuple[DictConfig, Hardware]:
    """Check a configuration, fill in defaults and compute what follows from it.

    As solo-learn main's ``parse_cfg``: learning rates are scaled by batch size times devices over
    256, crops are counted (those of the first entry's size are the large ones), the number of
    classes is looked up. Beyond it: keys and paths are checked, hardware is resolved, and
    transformers get the crop size as image size.

    Args:
        cfg: the configuration as composed by hydra.

    Returns:
        A new, resolved configuration and the hardware that it will run on.

    Raises:
        ConfigurationError: naming the key, the rule and the value.
    """
    check_keys(cfg)
    cfg = OmegaConf.merge(OmegaConf.create(DEFAULTS), cfg)  # type: ignore[assignment]
    OmegaConf.resolve(cfg)
    OmegaConf.set_struct(cfg, False)
    if cfg.method not in METHODS or cfg.method in ("base", "linear"):
        raise one_of("method", cfg.method, sorted(set(METHODS) - {"base", "linear"}))
    _check_values(cfg)
    _check_data(cfg)
    _complete_data(cfg)
    _complete_optimizer(cfg)
    _complete_backbone(cfg)
    hardware = resolve(cfg)
    _scale_rates(cfg, hardware)
    for name in ("accelerator", "devices", "precision", "sync_batchnorm"):
        cfg[name] = getattr(hardware, name)
    if cfg.wandb.entity == "None":  # written so in solo-learn's own YAMLs
        cfg.wandb.entity = None
    return cfg, hardware


def _check_values(cfg: DictConfig) -> None:
    check_positive_integer("checkpoint.frequency", cfg.checkpoint.frequency)
    check_positive_integer("knn_eval.k", cfg.knn_eval.k)
    check_optimizer(cfg)
    check_choice("knn_eval.distance_func", cfg.knn_eval.distance_func, DISTANCES)
    for block in ("mlp_probe", "auto_umap"):
        if cfg[block].enabled:
            raise ConfigurationError(
                f"Expected `{block}.enabled` to be false, it is not available here, but got true."
            )


def check_optimizer(cfg: DictConfig) -> None:
    """Check ``max_epochs``, ``optimizer`` and ``scheduler``.

    Args:
        cfg: the configuration with defaults.

    Raises:
        ConfigurationError: if a value is not in its range or set.
    """
    check_positive_integer("max_epochs", cfg.max_epochs)
    check_positive_integer("optimizer.batch_size", cfg.optimizer.batch_size)
    for key in ("optimizer.lr", "optimizer.weight_decay", "scheduler.warmup_epochs"):
        value = OmegaConf.select(cfg, key)
        check_number(key, value, "a non-negative number", lambda number: number >= 0)
    check_choice("optimizer.name", cfg.optimizer.name, _OPTIMIZER_KWARGS)
    check_choice("scheduler.interval", cfg.scheduler.interval, ("step", "epoch"))


def _check_data(cfg: DictConfig) -> None:
    data = cfg.data
    check_choice("data.dataset", data.dataset, _DATASETS)
    check_choice("data.format", data.format, ("image_folder", "dali", "h5"))
    if data.format == "h5" and (release() != "main" or not data.dataset.startswith("imagenet")):
        raise ConfigurationError(
            "Expected `data.format` to be h5 only for ImageNet and on solo-learn's main branch but "
            f"got h5 for {data.dataset} and solo-learn's {release()} release."
        )
    if data.format == "dali" and data.dataset not in IMAGE_FOLDERS:
        raise ConfigurationError(
            f"Expected `data.dataset` to be one of {', '.join(IMAGE_FOLDERS)} with "
            f"`data.format: dali` but got {data.dataset!r}."
        )
    if data.fraction > 0 and (data.fraction >= 1 or data.dataset not in IMAGE_FOLDERS):
        raise ConfigurationError(
            "Expected `data.fraction` to be below 1 and set for image folders only, or -1 for all "
            f"images, but got {data.fraction} for {data.dataset}."
        )
    if data.dataset in IMAGE_FOLDERS:
        check_folder("train_path", data.train_path)
        if data.val_path is not None:
            check_folder("val_path", data.val_path)
    elif data.dataset != "digits" and data.train_path is None:
        raise ConfigurationError("Expected `data.train_path` to be set.")


def check_folder(key: str, path: str | None) -> None:
    """Refuse a folder of images that does not exist.

    Args:
        key: the setting's name within ``data``.
        path: its value.

    Raises:
        ConfigurationError: naming the nearest folder that exists.
    """
    if path is None or not Path(path).exists():
        siblings = [str(p) for p in Path(path).parent.glob("*")] if path else []
        near = difflib.get_close_matches(str(path), siblings, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ConfigurationError(
            f"Expected `data.{key}` to be a folder of images that exists but got {path!r}.{hint}"
        )


def _complete_data(cfg: DictConfig) -> None:
    data = cfg.data
    if data.dataset in UNLABELLED:
        data.no_labels = True
    data.num_classes = count_classes(data)
    large = cfg.augmentations[0].crop_size
    crops = [(entry.crop_size == large, entry.num_crops) for entry in cfg.augmentations]
    data.num_large_crops = sum(number for is_large, number in crops if is_large)
    data.num_small_crops = sum(number for is_large, number in crops if not is_large)
    if [is_large for is_large, _ in crops] != sorted((c[0] for c in crops), reverse=True):
        raise ConfigurationError(
            "Expected `augmentations` to list all large crops before the small ones but got crop "
            f"sizes {[entry.crop_size for entry in cfg.augmentations]}."
        )
    if data.no_labels:
        cfg.knn_eval.enabled = False
    check_choice("dali.device", cfg.dali.device, ("gpu", "cpu"))


def count_classes(data: DictConfig) -> int:
    """Look up or count the classes of a dataset.

    Args:
        data: the block ``data``; ``no_labels`` may be missing.

    Returns:
        Their number, 1 without labels.

    Raises:
        ConfigurationError: if there is no folder to count in a folder of labelled images.
    """
    if data.dataset in CLASSES:
        return CLASSES[data.dataset]
    folders = sum(entry.is_dir() for entry in Path(data.train_path).iterdir())
    if not folders and not data.get("no_labels"):
        raise ConfigurationError(
            "Expected `data.train_path` to hold a folder for each class, or `data.no_labels` "
            f"to be true, but got {data.train_path!r} without any."
        )
    return 1 if data.get("no_labels") else folders


def fill_optimizer_kwargs(cfg: DictConfig) -> None:
    """Fill in ``optimizer.kwargs`` with main's defaults for the optimizer.

    Args:
        cfg: the configuration, changed in place.
    """
    defaults = OmegaConf.create(_OPTIMIZER_KWARGS[cfg.optimizer.name])
    cfg.optimizer.kwargs = OmegaConf.merge(defaults, cfg.optimizer.kwargs)


def _complete_optimizer(cfg: DictConfig) -> None:
    fill_optimizer_kwargs(cfg)
    cfg.optimizer.setdefault("classifier_lr", cfg.optimizer.lr)


def _complete_backbone(cfg: DictConfig) -> None:
    known = known_backbones()
    if cfg.backbone.name not in known:
        own = [name for name in known if not name.startswith("timm/")]
        raise ConfigurationError(
            f"Expected `backbone.name` to be one of {', '.join(own)} or timm/<architecture> but "
            f"got {cfg.backbone.name!r}.{nearest(cfg.backbone.name, known)}"
        )
    name = cfg.backbone.name.removeprefix("timm/")
    if name.startswith(_SIZED) and "img_size" not in cfg.backbone.kwargs:
        cfg.backbone.kwargs.img_size = cfg.augmentations[0].crop_size
        if name.startswith("vit_") and cfg.data.num_small_crops:
            cfg.backbone.kwargs.setdefault("dynamic_img_size", True)


def scale_rate(cfg: DictConfig, hardware: Hardware) -> float:
    """Compute what learning rates are multiplied by, as solo-learn does.

    Args:
        cfg: the configuration.
        hardware: what it will run on.

    Returns:
        The images of a step, in all processes, over 256.
    """
    return cfg.optimizer.batch_size * hardware.num_devices * cfg.num_nodes / 256


def _scale_rates(cfg: DictConfig, hardware: Hardware) -> None:
    factor = scale_rate(cfg, hardware)
    cfg.optimizer.lr *= factor
    cfg.optimizer.classifier_lr *= factor
    if hardware.accelerator == "cpu" and cfg.data.format == "dali":
        cfg.dali.device = "cpu"
