# SPDX-License-Identifier: MIT
"""What solo-learn's own methods ask of settings together, which they would say by an assertion."""

__all__ = ["check_solo_method"]

from omegaconf import DictConfig, OmegaConf

from solo_plugins.errors import ConfigurationError
from solo_plugins.framework import release

_TWO_VIEWS = {
    "barlow_twins", "deepclusterv2", "dino", "mocov2plus", "mocov3", "nnbyol", "nnclr", "nnsiam",
    "ressl", "simsiam", "supcon", "swav", "vibcreg", "vicreg",
}  # fmt: skip
_PAIRS = {"byol", "simclr", "wmse"}  # whose loss is the mean over pairs of views
_QUEUES = ("mocov2plus", "nnbyol", "nnclr", "nnsiam", "ressl")
_TEACHER = "method_kwargs.warmup_teacher_temperature_epochs"


def check_solo_method(cfg: DictConfig, processes: int) -> None:
    """Refuse settings that a method of solo-learn's cannot train with.

    Args:
        cfg: the configuration with defaults, whose crops are counted.
        processes: how many train together.

    Raises:
        ConfigurationError: naming the key, the rule and the value.
    """
    method, views = cfg.method, cfg.data.num_large_crops
    two = _TWO_VIEWS | ({"simclr"} if release() == "pypi" else set())
    if method in two and views != 2:
        raise ConfigurationError(
            f"Expected `augmentations` to have 2 crops of the first one's size (`num_crops`) with "
            f"`method: {method}` but got {views}."
        )
    if method in _PAIRS and views < 2:
        raise ConfigurationError(
            f"Expected `augmentations` to have at least 2 crops of the first one's size "
            f"(`num_crops`) with `method: {method}` but got {views}."
        )
    images = cfg.optimizer.batch_size * processes
    queue = OmegaConf.select(cfg, "method_kwargs.queue_size", default=65536)
    if method in _QUEUES and queue % images:
        raise ConfigurationError(
            f"Expected `method_kwargs.queue_size` to be a multiple of the {images} images of a "
            f"step (`optimizer.batch_size` in each process) with `method: {method}` but got "
            f"{queue}."
        )
    if method == "swav" and 0 < queue < images:
        raise ConfigurationError(
            f"Expected `method_kwargs.queue_size` to be 0 or at least {images}, the images of a "
            f"step (`optimizer.batch_size` in each process), but got {queue}."
        )
    warm_up = OmegaConf.select(cfg, _TEACHER, default=0)
    if method == "dino" and warm_up > cfg.max_epochs:
        raise ConfigurationError(
            f"Expected `{_TEACHER}` to be at most `max_epochs`, which is {cfg.max_epochs}, but got "
            f"{warm_up}."
        )
