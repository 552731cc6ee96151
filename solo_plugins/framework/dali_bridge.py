# SPDX-License-Identifier: MIT
"""The DALI pipelines of the PyPI release, from main's configuration, on GPU and CPU."""

__all__ = ["train_loader"]

from typing import Any

import torch
from nvidia.dali.pipeline import Pipeline
from nvidia.dali.plugin.pytorch import LastBatchPolicy
from omegaconf import DictConfig
from solo.methods.dali import PretrainWrapper
from solo.utils.dali_dataloader import CustomTransform, PretrainPipeline

from solo_plugins.errors import ConfigurationError
from solo_plugins.framework.transforms import normalization, output_map


class _OnAnyMachine(Pipeline):
    """Takes the release's arguments, and no device where there is no CUDA, as DALI demands."""

    def __init__(self, batch_size: int, num_threads: int, device_id: int, seed: int) -> None:
        device = device_id if torch.cuda.is_available() else None
        super().__init__(batch_size, num_threads, device, seed)


class _PretrainPipeline(PretrainPipeline, _OnAnyMachine):
    """The release's pipeline with :class:`_OnAnyMachine` behind it."""


def train_loader(
    cfg: DictConfig, *, rank: int, local_rank: int, world_size: int
) -> PretrainWrapper:
    """Build the training pipeline of one process.

    Args:
        cfg: the configuration.
        rank: the process's number among all.
        local_rank: the process's number on its machine.
        world_size: the number of processes.

    Returns:
        An iterator of (indexes, crops, targets).

    Raises:
        ConfigurationError: for augmentations that the release's DALI transforms lack.
    """
    pipeline = _PretrainPipeline(
        cfg.data.train_path,
        batch_size=cfg.optimizer.batch_size,
        device=cfg.dali.device,
        transforms=[
            CustomTransform(device=cfg.dali.device, **_arguments(cfg, aug))
            for aug in cfg.augmentations
        ],
        num_crops_per_aug=[aug.num_crops for aug in cfg.augmentations],
        device_id=local_rank,
        shard_id=rank,
        num_shards=world_size,
        num_threads=max(1, cfg.data.num_workers),
        seed=cfg.seed,
        no_labels=cfg.data.no_labels,
        encode_indexes_into_labels=cfg.dali.encode_indexes_into_labels,
    )
    device = "cuda" if cfg.dali.device == "gpu" else "cpu"
    return PretrainWrapper(
        model_batch_size=cfg.optimizer.batch_size,
        model_rank=rank,
        model_device=torch.device(device, local_rank) if device == "cuda" else torch.device(device),
        conversion_map=getattr(pipeline, "conversion_map", None),
        pipelines=pipeline,
        output_map=output_map(cfg),
        reader_name="Reader",
        last_batch_policy=LastBatchPolicy.DROP,
        auto_reset=True,
    )


def _arguments(cfg: DictConfig, aug: DictConfig) -> dict[str, Any]:
    if not aug.rrc.enabled or aug.equalization.prob:
        raise ConfigurationError(
            "Expected `augmentations` to have rrc.enabled and equalization.prob 0 with "
            "`data.format: dali` and solo-learn 1.0.2 but got "
            f"rrc.enabled {aug.rrc.enabled} and equalization.prob {aug.equalization.prob}."
        )
    mean, std = normalization(cfg.data.dataset, aug)
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
        "mean": list(mean),
        "std": list(std),
    }
