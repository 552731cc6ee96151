# SPDX-License-Identifier: MIT
"""The block ``two_views``: numbers that augmentations refer to, and nothing else reads."""

__all__ = ["check_two_views"]

from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from solo_plugins.errors import ConfigurationError, nearest

# Where the shared augmentations use them.
_USED = {
    "crop_size": "crop_size",
    "mean": "mean",
    "std": "std",
    "gaussian_blur": "gaussian_blur.prob",
    "solarization": "solarization.prob",
}


def check_two_views(cfg: DictConfig, given: Mapping[str, Any]) -> None:
    """Refuse a number in ``two_views`` to which no augmentation refers.

    The shared ones may stay where nothing refers to any: in a run's own config.yaml, whose
    augmentations have the numbers, and beside augmentations of one's own.

    Args:
        cfg: the configuration as composed by hydra.
        given: its plain values, which were checked.

    Raises:
        ConfigurationError: naming the setting, and the one to be set in place of it.
    """
    text = OmegaConf.to_yaml(cfg)
    shared = set() if "two_views." in text else set(_USED)
    for name, value in given.get("two_views", {}).items():
        if f"two_views.{name}" in text or name in shared:
            continue
        instead = nearest(str(name), _USED)
        if name in _USED:
            instead = f" Set `augmentations[0].{_USED[name]}`."
        raise ConfigurationError(
            f"Expected `two_views.{name}` to be what `augmentations` refer to but nothing reads "
            f"{value!r}.{instead}"
        )
