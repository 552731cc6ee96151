# SPDX-License-Identifier: MIT
"""``data.format: dali``: what it needs, and what solo-learn's DALI transforms lack."""

__all__ = ["check_dali_augmentations", "settle_dali"]

from collections.abc import Iterable

from omegaconf import DictConfig, OmegaConf

from solo_plugins.data.dali import check_dali
from solo_plugins.errors import ConfigurationError
from solo_plugins.framework import DALI_FIXED


def settle_dali(cfg: DictConfig, *, on_gpu: bool) -> None:
    """Choose where DALI runs, if it reads the images: where training does, unless that is set.

    Args:
        cfg: the configuration with defaults, changed in place.
        on_gpu: whether training runs on a GPU.

    Raises:
        ConfigurationError: if DALI is not installed, or is to run on a GPU that is not there.
    """
    device = cfg.dali.device
    if cfg.data.format != "dali":
        return
    check_dali()
    if device == "gpu" and not on_gpu:
        raise ConfigurationError(
            "Expected `dali.device` to be cpu, or not to be set, where the program runs on the CPU "
            "but got 'gpu'."
        )
    cfg.dali.device = device or ("gpu" if on_gpu else "cpu")


def check_dali_augmentations(augmentations: Iterable[DictConfig]) -> None:
    """Refuse what solo-learn's DALI transforms lack.

    Args:
        augmentations: the entries.

    Raises:
        ConfigurationError: naming the operation.
    """
    for index, entry in enumerate(augmentations):
        for key, only in DALI_FIXED.items():
            value = OmegaConf.select(entry, key)
            if value != only:
                raise ConfigurationError(
                    f"Expected `augmentations[{index}].{key}` to be {only} with `data.format: "
                    f"dali`, solo-learn's DALI transforms lack anything else, but got {value!r}."
                )
