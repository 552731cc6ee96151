# SPDX-License-Identifier: MIT
"""The DALI pipelines of solo-learn's PyPI release, from main's configuration, on GPU and CPU."""

__all__ = ["dali_train_loader"]

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from omegaconf import DictConfig

from solo_plugins.errors import ConfigurationError
from solo_plugins.framework.dali_settings import dali_settings, reader_of


def dali_train_loader(
    cfg: DictConfig,
    paths: Sequence[str],
    targets: Sequence[int],
    *,
    rank: int,
    local_rank: int,
    world_size: int,
) -> Iterable:
    """Build the training pipeline of one process over image files.

    Args:
        cfg: the configuration.
        paths: the files, of all processes.
        targets: their labels.
        rank: the process's number among all.
        local_rank: the process's number on its machine.
        world_size: the number of processes.

    Returns:
        An iterator, with a length, of (indexes, crops, targets).

    Raises:
        ConfigurationError: if DALI is not installed, or for augmentations that the release's DALI
            transforms lack.
    """
    place = {"rank": rank, "local_rank": local_rank, "world_size": world_size}
    reading, iterating = dali_settings(cfg, **place)
    from solo.methods.dali import PretrainWrapper  # which needs DALI
    from solo.utils.dali_dataloader import CustomTransform

    pipeline = _pipeline_class()(
        cfg.data.train_path,
        transforms=[
            CustomTransform(device=cfg.dali.device, **_arguments(cfg, aug))
            for aug in cfg.augmentations
        ],
        num_crops_per_aug=[aug.num_crops for aug in cfg.augmentations],
        **reading,
    )
    pipeline.reader, conversion_map = reader_of(cfg, paths, targets, reading)
    return PretrainWrapper(conversion_map=conversion_map, pipelines=pipeline, **iterating)


def _pipeline_class() -> type:
    """Give the release's pipeline no device where there is no CUDA, as DALI demands."""
    from nvidia.dali.pipeline import Pipeline
    from solo.utils.dali_dataloader import PretrainPipeline

    class OnAnyMachine(Pipeline):
        def __init__(self, batch_size: int, num_threads: int, device_id: int, seed: int) -> None:
            device = device_id if torch.cuda.is_available() else None
            super().__init__(batch_size, num_threads, device, seed)

    # The release's class asks for a number, as it adds it to the seed.
    class PipelineOnAnyMachine(PretrainPipeline, OnAnyMachine):
        pass

    return PipelineOnAnyMachine


def _arguments(cfg: DictConfig, aug: DictConfig) -> dict[str, Any]:
    if not aug.rrc.enabled or aug.equalization.prob:
        raise ConfigurationError(
            "Expected `augmentations` to have rrc.enabled and equalization.prob 0 with "
            "`data.format: dali` and solo-learn 1.0.2 but got "
            f"rrc.enabled {aug.rrc.enabled} and equalization.prob {aug.equalization.prob}."
        )
    jitter = aug.color_jitter
    strengths = ("brightness", "contrast", "saturation", "hue")
    return {
        **{name: jitter.get(name, 0.0) for name in strengths},
        "color_jitter_prob": jitter.prob,
        "gray_scale_prob": aug.grayscale.prob,
        "horizontal_flip_prob": aug.horizontal_flip.prob,
        "gaussian_prob": aug.gaussian_blur.prob,
        "solarization_prob": aug.solarization.prob,
        "min_scale": aug.rrc.crop_min_scale,
        "max_scale": aug.rrc.crop_max_scale,
        "crop_size": aug.crop_size,
        "mean": list(aug.mean),
        "std": list(aug.std),
    }
