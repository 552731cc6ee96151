# SPDX-License-Identifier: MIT
"""The configuration of ``main_pretrain.py``: checks, defaults and what follows from them."""

__all__ = ["DEFAULTS", "parse_cfg"]

from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from solo_plugins.args.adopted import adopted
from solo_plugins.args.automatic import automatic
from solo_plugins.args.dali import check_dali_augmentations, settle_dali
from solo_plugins.args.data import IMAGE_FOLDERS, check_paths, settle_data
from solo_plugins.args.hardware import Hardware
from solo_plugins.args.models import PretrainSettings, defaults, pretrain_model
from solo_plugins.args.optimizer import check_optimizer, settle_hardware
from solo_plugins.args.reading import plain, with_defaults
from solo_plugins.args.references import check_two_views
from solo_plugins.args.solo_methods import check_solo_method
from solo_plugins.args.trainer import check_together
from solo_plugins.args.wording import check
from solo_plugins.data.datasets import DATASETS
from solo_plugins.errors import ConfigurationError, nearest
from solo_plugins.framework import (
    FORMATS,
    METHODS,
    backbone_constructor,
    check_kwargs,
    known_backbones,
    size_settings,
)
from solo_plugins.pictures.space import check_umap

DEFAULTS = defaults(PretrainSettings)


def parse_cfg(cfg: DictConfig) -> tuple[DictConfig, Hardware]:
    """Check a configuration, fill in defaults and compute what follows from it.

    As solo-learn main's ``parse_cfg``: learning rates are scaled by batch size times devices over
    256, crops are counted (those of the first entry's size are the large ones), the number of
    classes is looked up. Beyond it: keys and paths are checked, hardware is resolved, and
    backbones that are built for one size of images get the crop size.

    Args:
        cfg: the configuration as composed by hydra.

    Returns:
        A new, resolved configuration and the hardware that it will run on.

    Raises:
        ConfigurationError: naming the key, the rule and the value.
    """
    cfg, _ = adopted(cfg)
    cfg, _ = automatic(cfg)
    given = {"method_kwargs": {}, **plain(cfg)}
    _check_program(given)
    _check_asked(given)
    check(pretrain_model(given.get("method"), _name_of(given.get("optimizer"))), given)
    check_two_views(cfg, given)
    _check_momentum(given)
    cfg = with_defaults(cfg, DEFAULTS)
    _check_values(cfg)
    _check_data(cfg)
    _complete_data(cfg)
    cfg.optimizer.setdefault("classifier_lr", cfg.optimizer.lr)
    _complete_backbone(cfg)
    hardware = settle_hardware(cfg)
    check_solo_method(cfg, hardware.processes)
    settle_dali(cfg, on_gpu=hardware.accelerator == "gpu")
    return cfg, hardware


def _check_program(given: Mapping[str, Any]) -> None:
    """Refuse the YAML of an evaluation as a whole."""
    if "pretrained_feature_extractor" in given and "method" not in given:
        raise ConfigurationError(
            "Expected a YAML for main_pretrain.py, as scripts/pretrain/ has them, but got one of "
            "an evaluation: it has `pretrained_feature_extractor`."
        )


def _check_asked(given: Mapping[str, Any]) -> None:
    """Refuse what a run made of its configuration: rates would be scaled once more."""
    data = given.get("data")
    for key in ("num_large_crops", "num_small_crops"):
        if isinstance(data, dict) and data.get(key) is not None:
            raise ConfigurationError(
                f"Expected a configuration as it is asked for but got `data.{key}`, which a run "
                "works out, as it scales `optimizer.lr` by the images of a step over 256. A run's "
                "config.yaml can be run again; earlier commits wrote resolved settings there: set "
                "the rates to those that were asked for and remove this key."
            )


def _check_momentum(given: Mapping[str, Any]) -> None:
    if "momentum" in given and not hasattr(METHODS[given["method"]], "momentum_pairs"):
        raise ConfigurationError(
            f"Expected `momentum` to be left out with `method: {given['method']}`, which has no "
            f"momentum network, but got {given['momentum']!r}."
        )


def _name_of(block: Any) -> Any:
    return block.get("name") if isinstance(block, dict) else None


def _check_values(cfg: DictConfig) -> None:
    check_optimizer(cfg)
    check_together(cfg)
    if cfg.mlp_probe.enabled:
        raise ConfigurationError(
            "Expected `mlp_probe.enabled` to be false, it is not available here, but got true."
        )
    if cfg.auto_umap.enabled:
        check_umap("`auto_umap.enabled`")


def _check_data(cfg: DictConfig) -> None:
    data = cfg.data
    if data.format == "h5" and ("h5" not in FORMATS or not data.dataset.startswith("imagenet")):
        raise ConfigurationError(
            "Expected `data.format` to be h5 only for ImageNet and on solo-learn's main branch but "
            f"got h5 for {data.dataset}; this release reads {', '.join(FORMATS)}."
        )
    if data.format == "dali":
        check_dali_augmentations(cfg.augmentations)
    if data.fraction > 0 and (data.fraction >= 1 or data.dataset not in IMAGE_FOLDERS):
        raise ConfigurationError(
            "Expected `data.fraction` to be below 1 and set for image folders only, or -1 for all "
            f"images, but got {data.fraction} for {data.dataset}."
        )
    if data.preload and data.format == "h5":
        raise ConfigurationError(
            "Expected `data.preload` to be false with `data.format: h5`, one large file, but got "
            "true."
        )
    if cfg.debug_augmentations and data.format == "dali":
        raise ConfigurationError(
            "Expected `debug_augmentations` to be false with `data.format: dali`, whose pipelines "
            "cannot be printed, but got true."
        )
    check_paths(data, validates=False)


def _complete_data(cfg: DictConfig) -> None:
    data = cfg.data
    if not DATASETS[data.dataset].labelled:
        data.no_labels = True
    settle_data(data)
    for entry in cfg.augmentations:
        for name in ("mean", "std"):  # null is the same as none
            if entry.get(name) is None:
                entry.pop(name, None)
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


def _complete_backbone(cfg: DictConfig) -> None:
    known = known_backbones()
    if cfg.backbone.name not in known:
        own = [name for name in known if not name.startswith("timm/")]
        raise ConfigurationError(
            f"Expected `backbone.name` to be one of {', '.join(own)} or timm/<architecture> but "
            f"got {cfg.backbone.name!r}.{nearest(cfg.backbone.name, known)}"
        )
    name, given = cfg.backbone.name, _plain(cfg.backbone.kwargs)
    sizes = [entry.crop_size for entry in cfg.augmentations]
    found = {**given, **size_settings(name, given, sizes)}
    check_kwargs(name, backbone_constructor(name), found, sizes, cfg.method)
    cfg.backbone.kwargs = found


def _plain(block: DictConfig) -> dict[str, Any]:
    plain: Any = OmegaConf.to_container(block)
    return plain
