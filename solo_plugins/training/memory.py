# SPDX-License-Identifier: MIT
"""What is said when there is not enough memory: the settings that ask for it."""

__all__ = ["enough_memory"]

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from omegaconf import DictConfig

from solo_plugins.errors import ConfigurationError

# torch raises a plain RuntimeError on the CPU
_REFUSED = ("can't allocate memory", "not enough memory")


@contextmanager
def enough_memory(cfg: DictConfig) -> Iterator[None]:
    """Turn an allocation that fails into one line with the settings that memory grows with.

    Args:
        cfg: the resolved configuration of a pretraining run.

    Raises:
        ConfigurationError: in place of torch's or Python's error.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        known = isinstance(error, MemoryError | torch.OutOfMemoryError)
        if not known and not any(text in str(error) for text in _REFUSED):
            raise
        numbers = {
            f"method_kwargs.{name}": value
            for name, value in cfg.method_kwargs.items()
            if isinstance(value, int) and not isinstance(value, bool)
        }
        largest = max(numbers, key=numbers.__getitem__, default="method_kwargs")
        raise ConfigurationError(
            f"Expected memory to do for `{largest}` {numbers.get(largest, '')}, "
            f"`optimizer.batch_size` {cfg.optimizer.batch_size}, `augmentations[0].crop_size` "
            f"{cfg.augmentations[0].crop_size} and `backbone.name` {cfg.backbone.name} but it does "
            f"not: {' '.join(str(error).split())[:200] or type(error).__name__}"
        ) from error
