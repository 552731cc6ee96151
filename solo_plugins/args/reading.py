# SPDX-License-Identifier: MIT
"""From hydra's configuration to plain values that were checked, and defaults filled in."""

__all__ = ["plain", "with_defaults"]

import re
from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from solo_plugins.errors import ConfigurationError


def plain(cfg: DictConfig) -> dict[str, Any]:
    """Resolve references between settings.

    Args:
        cfg: the configuration as composed by hydra.

    Returns:
        Plain values.

    Raises:
        ConfigurationError: naming the setting that refers to what is not there, or that is
            ``???``.
    """
    try:
        given: Any = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    except (OmegaConfBaseException, RecursionError) as error:
        # numbers of a list as every other message has them
        key = re.sub(r"\.(\d+)\b", r"[\1]", getattr(error, "full_key", None) or "a setting")
        reason = str(error).partition("\n")[0][:200] or type(error).__name__
        raise ConfigurationError(
            f"Expected `{key}` to be set, or to refer to a setting that is, but: {reason}"
        ) from error
    return given


def with_defaults(cfg: DictConfig, defaults: Mapping[str, Any]) -> DictConfig:
    """Fill in optional settings and resolve references between settings.

    Args:
        cfg: a configuration that was checked.
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
