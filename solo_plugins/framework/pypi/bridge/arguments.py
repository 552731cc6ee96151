# SPDX-License-Identifier: MIT
"""Main's configuration translated into the arguments of the PyPI release's constructors."""

__all__ = ["constructor_arguments", "parser_defaults"]

from argparse import ArgumentParser
from collections.abc import Collection
from typing import Any

from omegaconf import DictConfig, OmegaConf

from solo_plugins.errors import ConfigurationError, nearest

# Main's defaults, where the release's own differ.
_MAIN_DEFAULTS = {
    "dino": {
        "clip_grad": 0,
        "freeze_last_layer": 1,
        "norm_last_layer": True,
        "teacher_temperature": 0.07,
        "warmup_teacher_temperature_epochs": 0,
    }
}


def parser_defaults(legacy: Any) -> dict[str, Any]:
    """Ask a method of the release for its settings.

    Args:
        legacy: a method of the release.

    Returns:
        What its own argument parser gives when nothing is passed.
    """
    parser = ArgumentParser()
    legacy.add_model_specific_args(parser)
    return vars(parser.parse_args(["--optimizer", "sgd"]))


def constructor_arguments(
    cfg: DictConfig, legacy: Any, *, shared: Collection[str]
) -> dict[str, Any]:
    """Translate a configuration.

    Args:
        cfg: main's configuration, with defaults.
        legacy: the method of the release that is to be built.
        shared: the settings that are not `legacy`'s own; if there are none, ``method_kwargs`` are
            not checked, they belong to a method written against main's interface.

    Returns:
        Keyword arguments.

    Raises:
        ConfigurationError: if ``method_kwargs`` has a setting that `legacy` does not know.
    """
    arguments = parser_defaults(legacy)
    if shared:
        own = set(arguments) - set(shared)
        for key in cfg.method_kwargs:
            if key not in own:
                raise ConfigurationError(
                    f"Expected `method_kwargs.{key}` to be a setting of {cfg.method} "
                    f"({', '.join(sorted(own))}).{nearest(str(key), own)}"
                )
        arguments |= {**_MAIN_DEFAULTS.get(cfg.method, {}), **cfg.method_kwargs}
    kwargs = dict(cfg.backbone.kwargs)
    if cfg.data.dataset in ("cifar10", "cifar100"):
        kwargs["cifar"] = True
    return {
        **arguments,
        "encoder": cfg.backbone.name,
        "num_classes": cfg.data.num_classes,
        "backbone_args": kwargs,
        "max_epochs": cfg.max_epochs,
        "batch_size": cfg.optimizer.batch_size,
        "lr": cfg.optimizer.lr,
        "weight_decay": cfg.optimizer.weight_decay,
        "classifier_lr": OmegaConf.select(cfg, "optimizer.classifier_lr", default=cfg.optimizer.lr),
        "accumulate_grad_batches": cfg.accumulate_grad_batches or 1,
        "extra_optimizer_args": {},
        "scheduler": cfg.scheduler.name,
        "min_lr": cfg.scheduler.min_lr,
        "warmup_start_lr": cfg.scheduler.warmup_start_lr,
        "warmup_epochs": cfg.scheduler.warmup_epochs,
        "lr_decay_steps": cfg.scheduler.lr_decay_steps,
        "num_large_crops": cfg.data.num_large_crops,
        "num_small_crops": cfg.data.num_small_crops,
        "knn_eval": False,  # the bridge adds the repaired one
        **_momentum_arguments(cfg, arguments),
    }


def _momentum_arguments(cfg: DictConfig, arguments: dict[str, Any]) -> dict[str, Any]:
    if "base_tau_momentum" not in arguments:
        return {}
    return {
        "base_tau_momentum": cfg.momentum.base_tau,
        "final_tau_momentum": cfg.momentum.final_tau,
        "momentum_classifier": cfg.momentum.classifier,
    }
