# SPDX-License-Identifier: MIT
"""How many steps an epoch has, which must not be none."""

__all__ = ["check_steps"]

from omegaconf import DictConfig

from solo_plugins.errors import ConfigurationError


def check_steps(num_images: int, cfg: DictConfig, num_processes: int) -> None:
    """Refuse a run that would end without a step, and without an error.

    Args:
        num_images: the training images, of all processes.
        cfg: the configuration; ``optimizer.batch_size`` and Lightning's settings that cut a run
            short are read.
        num_processes: devices times nodes.

    Raises:
        ConfigurationError: if there are fewer images than one batch of each process, or a setting
            leaves none of the steps.
    """
    batch_size = cfg.optimizer.batch_size
    steps = num_images // (batch_size * num_processes)
    if steps == 0:
        raise ConfigurationError(
            "Expected `optimizer.batch_size` times the number of processes to be at most the "
            f"number of training images, {num_images}, but got {batch_size} times {num_processes}."
        )
    if cfg.get("max_steps") == 0:
        raise ConfigurationError("Expected `max_steps` to leave at least one step but got 0.")
    if cfg.get("fast_dev_run"):
        return  # that alone counts
    # the first one replaces the other
    key = "overfit_batches" if cfg.get("overfit_batches") else "limit_train_batches"
    limit = cfg.get(key)
    # as Lightning counts: a number of steps, or a fraction of them
    left = steps if limit is None else int(limit if isinstance(limit, int) else steps * limit)
    if left == 0:
        raise ConfigurationError(
            f"Expected `{key}` to leave at least one step but got {limit!r} of {steps} steps."
        )
    every = cfg.get("val_check_interval")
    left = min(left, steps)
    if isinstance(every, int) and every > left and cfg.get("check_val_every_n_epoch", 1):
        raise ConfigurationError(
            f"Expected `val_check_interval` to be at most the steps of an epoch, {left}, but got "
            f"{every}; `check_val_every_n_epoch=null` counts across epochs."
        )
