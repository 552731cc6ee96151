# SPDX-License-Identifier: MIT
"""The DALI pipelines of solo-learn's main branch, on GPU and CPU."""

__all__ = ["train_loader"]

import torch
from nvidia.dali.plugin.pytorch import LastBatchPolicy
from omegaconf import DictConfig
from solo.data.dali_dataloader import (
    PretrainPipelineBuilder,
    PretrainWrapper,
    build_transform_pipeline_dali,
)
from solo.data.pretrain_dataloader import FullTransformPipeline, NCropAugmentation

from solo_plugins.framework.transforms import output_map


def train_loader(
    cfg: DictConfig, *, rank: int, local_rank: int, world_size: int
) -> PretrainWrapper:
    """Build the training pipeline of one process.

    Main's own data module hands its device's number to DALI on a machine without CUDA too, where
    DALI takes none but None.

    Args:
        cfg: the configuration.
        rank: the process's number among all.
        local_rank: the process's number on its machine.
        world_size: the number of processes.

    Returns:
        An iterator of (indexes, crops, targets).
    """
    on_gpu = cfg.dali.device == "gpu"
    builder = PretrainPipelineBuilder(
        cfg.data.train_path,
        batch_size=cfg.optimizer.batch_size,
        device=cfg.dali.device,
        transforms=FullTransformPipeline(
            [
                NCropAugmentation(
                    build_transform_pipeline_dali(cfg.data.dataset, aug, cfg.dali.device),
                    aug.num_crops,
                )
                for aug in cfg.augmentations
            ]
        ),
        device_id=local_rank,
        shard_id=rank,
        num_shards=world_size,
        num_threads=max(1, cfg.data.num_workers),
        seed=cfg.seed,
        no_labels=cfg.data.no_labels,
        encode_indexes_into_labels=cfg.dali.encode_indexes_into_labels,
        data_fraction=cfg.data.fraction,
    )
    pipeline = builder.pipeline(
        batch_size=builder.batch_size,
        num_threads=builder.num_threads,
        device_id=local_rank if on_gpu else None,
        seed=builder.seed,
    )
    pipeline.build()
    device = torch.device("cuda", local_rank) if on_gpu else torch.device("cpu")
    return PretrainWrapper(
        model_batch_size=cfg.optimizer.batch_size,
        model_rank=rank,
        model_device=device,
        dataset_size=pipeline.epoch_size("Reader"),
        conversion_map=getattr(builder, "conversion_map", None),
        pipelines=pipeline,
        output_map=output_map(cfg),
        reader_name="Reader",
        last_batch_policy=LastBatchPolicy.DROP,
        auto_reset=True,
    )
