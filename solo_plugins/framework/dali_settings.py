# SPDX-License-Identifier: MIT
"""The settings that the DALI pipelines of both releases have in common."""

__all__ = ["dali_settings", "reader_of"]

from collections.abc import Sequence
from typing import Any

import torch
from omegaconf import DictConfig

from solo_plugins.errors import ConfigurationError


def dali_settings(
    cfg: DictConfig, *, rank: int, local_rank: int, world_size: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Build the settings of a pipeline that reads and augments images, and of its iterator.

    Args:
        cfg: the configuration.
        rank: the process's number among all.
        local_rank: the process's number on its machine.
        world_size: the number of processes.

    Returns:
        Keyword arguments of the pipeline and of the iterator.

    Raises:
        ConfigurationError: if DALI is not installed.
    """
    try:
        from nvidia.dali.plugin.pytorch import LastBatchPolicy
    except ImportError as error:
        raise ConfigurationError(
            "`data.format: dali` needs NVIDIA DALI: pip install 'solo_plugins[dali]'."
        ) from error
    on_gpu = cfg.dali.device == "gpu"
    large = [f"large{index}" for index in range(cfg.data.num_large_crops)]
    small = [f"small{index}" for index in range(cfg.data.num_small_crops)]
    pipeline = {
        "batch_size": cfg.optimizer.batch_size,
        "device": cfg.dali.device,
        "device_id": local_rank,
        "shard_id": rank,
        "num_shards": world_size,
        "num_threads": max(1, cfg.data.num_workers),
        "seed": cfg.seed,
        # Its own list of the files is replaced by ours: this one is the quickest to make.
        "no_labels": True,
    }
    iterator = {
        "model_batch_size": cfg.optimizer.batch_size,
        "model_rank": rank,
        "model_device": torch.device("cuda", local_rank) if on_gpu else torch.device("cpu"),
        "output_map": [*large, *small, "label"],  # solo-learn's names
        "reader_name": "Reader",
        "last_batch_policy": LastBatchPolicy.DROP,
        "auto_reset": True,
    }
    return pipeline, iterator


def reader_of(
    cfg: DictConfig, paths: Sequence[str], targets: Sequence[int], reading: dict[str, Any]
) -> tuple[Any, list[int] | None]:
    """Build the operator that reads the files, in place of solo-learn's.

    solo-learn lists a folder itself: hidden entries and what is no image included, and classes as
    they are found.

    Args:
        cfg: the configuration.
        paths: the files.
        targets: their labels.
        reading: the settings of the pipeline.

    Returns:
        The operator, and the label of each file's number where ``dali.encode_indexes_into_labels``
        gives out numbers.
    """
    from nvidia.dali import ops

    numbers = cfg.dali.encode_indexes_into_labels
    reader = ops.readers.File(
        files=list(paths),
        labels=list(range(len(paths)) if numbers else targets),
        shard_id=reading["shard_id"],
        num_shards=reading["num_shards"],
        shuffle_after_epoch=True,
    )
    return reader, list(targets) if numbers else None
