# SPDX-License-Identifier: MIT
"""The optional settings of solo-learn main's methods; its PyPI release has no configurations."""

__all__ = ["BASE", "LINEAR", "MOMENTUM", "fill_defaults"]

from typing import Any

from omegaconf import DictConfig, OmegaConf

Defaults = dict[str, Any]

BASE: Defaults = {
    "backbone": {"kwargs": {}},
    "optimizer": {"exclude_bias_n_norm_wd": False, "kwargs": {}},
    "accumulate_grad_batches": 1,
    "scheduler": {
        "lr_decay_steps": None,
        "min_lr": 0.0,
        "warmup_start_lr": 3e-5,
        "warmup_epochs": 10,
        "interval": "step",
    },
    "knn_eval": {"enabled": False, "k": 20, "distance_func": "euclidean"},
    "performance": {"disable_channel_last": False},
    "method_kwargs": {},
}

MOMENTUM = BASE | {"momentum": {"base_tau": 0.99, "final_tau": 1.0, "classifier": False}}
LINEAR: Defaults = {
    "optimizer": {"exclude_bias_n_norm_wd": False, "kwargs": {}, "layer_decay": 0.0},
    **{name: BASE[name] for name in ("scheduler", "accumulate_grad_batches", "performance")},
    "finetune": False,
}


def fill_defaults(cfg: DictConfig, defaults: Defaults) -> DictConfig:
    """Fill in what main's ``add_and_assert_specific_cfg`` does.

    Args:
        cfg: the configuration, changed in place.
        defaults: those of the kind of model.

    Returns:
        The same configuration.
    """
    OmegaConf.set_struct(cfg, False)
    given = cfg.copy()
    cfg.merge_with(OmegaConf.create(defaults))
    cfg.merge_with(given)
    return cfg
