# SPDX-License-Identifier: MIT
"""Which keys a pretraining configuration may have, and the defaults of those that are optional."""

__all__ = ["DEFAULTS", "check_blocks", "check_keys", "check_required", "with_defaults"]

import inspect
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from lightning.pytorch import Trainer
from omegaconf import DictConfig, ListConfig, OmegaConf

from solo_plugins.args.checks import check_positive_integer
from solo_plugins.errors import ConfigurationError, nearest
from solo_plugins.framework.defaults import MOMENTUM

# solo-learn main's defaults, where it has one.
DEFAULTS: dict[str, Any] = {
    "seed": 5,
    "num_nodes": 1,
    "strategy": None,
    "resume_from_checkpoint": None,
    "debug_augmentations": False,
    "accelerator": "auto",
    "devices": 1,
    "precision": "32-true",
    "data": {
        "train_path": None,
        "val_path": None,
        "format": "image_folder",
        "no_labels": False,
        "fraction": -1,
        "num_workers": 4,
        "preload": False,
    },
    "checkpoint": {
        "enabled": False,
        "dir": "trained_models",
        "frequency": 1,
        "keep_prev": False,
        "every_n_steps": None,
        "every_n_minutes": None,
        "monitor": None,
        "mode": "max",
    },
    "auto_resume": {"enabled": False, "max_hours": 36},
    "wandb": {"enabled": False, "entity": None, "project": "solo-learn", "offline": False},
    # Without a device DALI runs where training does. Indexes are those of images in any case.
    "dali": {"device": None, "encode_indexes_into_labels": False},
    # A block of the reference implementation that may stand in a YAML, disabled.
    "mlp_probe": {"enabled": False, "num_layers": 3},
    # Pictures of validation features, in this folder of the run's.
    "auto_umap": {"enabled": False, "dir": "auto_umap", "frequency": 1, "keep_previous": False},
    # What the shared augmentations read their numbers from.
    "two_views": {},
    # Lightning has a default of its own for this one.
    **{name: value for name, value in MOMENTUM.items() if name != "accumulate_grad_batches"},
    "performance": {**MOMENTUM["performance"], "compile": False},
}

_REQUIRED = {
    "": {"name", "method", "augmentations", "max_epochs"},
    "data": {"dataset"},
    "backbone": {"name"},
    "optimizer": {"name", "batch_size", "lr", "weight_decay"},
    "scheduler": {"name"},
}
_OPTIONAL = {
    # these are computed, whatever a YAML says: a run's own configuration can be run again
    "data": {
        "num_classes",
        "num_large_crops",
        "num_small_crops",
        "train_fingerprint",
        "val_fingerprint",
    },
    "optimizer": {"classifier_lr"},
}
_OPEN = {"method_kwargs", "two_views"}
_OPERATIONS = {
    "rrc": {"enabled", "crop_min_scale", "crop_max_scale"},
    "color_jitter": {"enabled", "prob", "brightness", "contrast", "saturation", "hue"},
    "grayscale": {"enabled", "prob"},
    "gaussian_blur": {"enabled", "prob"},
    "solarization": {"enabled", "prob"},
    "equalization": {"enabled", "prob"},
    "horizontal_flip": {"enabled", "prob"},
}
_NUMBERS = {"crop_size", "num_crops"}


def check_keys(cfg: DictConfig) -> None:
    """Refuse keys that nothing reads, and name those that are missing.

    ``method_kwargs`` are left to the method, ``optimizer.kwargs`` and ``backbone.kwargs`` likewise.

    Args:
        cfg: the configuration as composed by hydra, without defaults.

    Raises:
        ConfigurationError: naming the key, with the nearest known one.
    """
    check_blocks(cfg, DEFAULTS, _REQUIRED, _OPTIONAL, open_blocks=_OPEN)
    check_required(cfg, _REQUIRED)
    _check_augmentations(cfg.augmentations)


def with_defaults(cfg: DictConfig, defaults: Mapping[str, Any]) -> DictConfig:
    """Fill in optional settings and resolve references between settings.

    Args:
        cfg: the configuration as composed by hydra.
        defaults: the optional settings and blocks of them.

    Returns:
        A new configuration, to which settings can be added.
    """
    full: Any = OmegaConf.merge(OmegaConf.create(dict(defaults)), cfg)
    OmegaConf.resolve(full)
    OmegaConf.set_struct(full, False)
    if OmegaConf.select(full, "wandb.entity") == "None":  # written so in solo-learn's own YAMLs
        full.wandb.entity = None
    return full


def check_blocks(
    cfg: DictConfig,
    defaults: Mapping[str, Any],
    required: Mapping[str, set[str]],
    optional: Mapping[str, set[str]],
    *,
    open_blocks: Collection[str] = (),
    trains: bool = True,
) -> None:
    """Refuse keys that are neither known here nor settings of Lightning's trainer.

    Args:
        cfg: the configuration as composed by hydra, without defaults.
        defaults: the optional settings and blocks of them.
        required: the settings without a default, by block; ``""`` is the top level.
        optional: settings that are known and have no default, by block.
        open_blocks: blocks that may hold any key.
        trains: whether there is a trainer, whose settings are known.

    Raises:
        ConfigurationError: naming the key, with the nearest known one.
    """
    trainer = set(inspect.signature(Trainer.__init__).parameters) - {"self"} if trains else set()
    known = trainer | set(defaults) | required.get("", set()) | optional.get("", set())
    _known("", cfg, known)
    for block, values in defaults.items():
        if not isinstance(values, dict) or block in open_blocks or cfg.get(block) is None:
            continue
        if not isinstance(cfg[block], DictConfig):
            raise ConfigurationError(
                f"Expected `{block}` to be a block of settings but got {cfg[block]!r}."
            )
        extra = required.get(block, set()) | optional.get(block, set())
        _known(block, cfg[block], set(values) | extra)


def check_required(cfg: DictConfig, required: Mapping[str, set[str]]) -> None:
    """Refuse a configuration in which a setting is missing.

    Args:
        cfg: the configuration.
        required: the settings that must be set, by block; ``""`` is the top level.

    Raises:
        ConfigurationError: naming the first one that is not.
    """
    for block, keys in required.items():
        _present(block, (cfg.get(block) or {}) if block else cfg, keys)


def _check_augmentations(augmentations: Any) -> None:
    if not isinstance(augmentations, ListConfig) or not augmentations:
        raise ConfigurationError(
            f"Expected `augmentations` to be a list of entries but got {augmentations!r}."
        )
    for index, entry in enumerate(augmentations):
        where = f"augmentations[{index}]"
        _known(where, entry, set(_OPERATIONS) | _NUMBERS | {"mean", "std"})
        _present(where, entry, set(_OPERATIONS) | _NUMBERS)
        for name, keys in _OPERATIONS.items():
            _known(f"{where}.{name}", entry[name], keys)
            _present(f"{where}.{name}", entry[name], {"enabled" if name == "rrc" else "prob"})
        for name in _NUMBERS:
            check_positive_integer(f"{where}.{name}", entry[name])


def _known(where: str, block: Iterable[Any], known: set[str]) -> None:
    prefix = f"{where}." if where else ""
    for key in block:
        if key not in known:
            raise ConfigurationError(
                f"Expected only known settings but got `{prefix}{key}`."
                f"{nearest(str(key), known) or f' Known: {_listed(known)}.'}"
            )


def _present(where: str, block: Any, required: set[str]) -> None:
    prefix = f"{where}." if where else ""
    for key in sorted(required):
        if key not in block or block[key] is None:
            raise ConfigurationError(f"Expected `{prefix}{key}` to be set.")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
