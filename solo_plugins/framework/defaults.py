# SPDX-License-Identifier: MIT
"""The settings that solo-learn main's methods fill in, for the release that has no configs."""

__all__ = ["fill_base_defaults", "fill_linear_defaults", "fill_momentum_defaults"]

from omegaconf import DictConfig, OmegaConf

_BASE = {
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

_LINEAR = {
    "optimizer": {**_BASE["optimizer"], "layer_decay": 0.0},  # type: ignore[dict-item]
    "scheduler": _BASE["scheduler"],
    "accumulate_grad_batches": 1,
    "performance": {"disable_channel_last": False},
    "finetune": False,
}
_MOMENTUM = {"momentum": {"base_tau": 0.99, "final_tau": 1.0, "classifier": False}}


def fill_base_defaults(cfg: DictConfig) -> DictConfig:
    """Fill in what main's ``BaseMethod.add_and_assert_specific_cfg`` does.

    Args:
        cfg: the configuration, changed in place.

    Returns:
        The same configuration.
    """
    return _fill(cfg, _BASE)


def fill_linear_defaults(cfg: DictConfig) -> DictConfig:
    """Fill in what main's ``LinearModel.add_and_assert_specific_cfg`` does.

    Args:
        cfg: the configuration, changed in place.

    Returns:
        The same configuration.
    """
    return _fill(cfg, _LINEAR)


def fill_momentum_defaults(cfg: DictConfig) -> DictConfig:
    """Fill in what main's ``BaseMomentumMethod.add_and_assert_specific_cfg`` does.

    Args:
        cfg: the configuration, changed in place.

    Returns:
        The same configuration.
    """
    return _fill(fill_base_defaults(cfg), _MOMENTUM)


def _fill(cfg: DictConfig, defaults: dict) -> DictConfig:
    OmegaConf.set_struct(cfg, False)
    given = cfg.copy()
    cfg.merge_with(OmegaConf.create(defaults))
    cfg.merge_with(given)
    return cfg
