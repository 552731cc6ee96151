# SPDX-License-Identifier: MIT
"""The DALI pipelines of solo-learn's main branch, on GPU and CPU."""

__all__ = ["dali_train_loader"]

from collections.abc import Iterable, Sequence

from omegaconf import DictConfig
from solo.data.pretrain_dataloader import FullTransformPipeline, NCropAugmentation

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

    Main's own data module hands its device's number to DALI on a machine without CUDA too, where
    DALI takes none but None.

    Arguments and result are those of the twin in ``pypi``.
    """
    place = {"rank": rank, "local_rank": local_rank, "world_size": world_size}
    reading, iterating = dali_settings(cfg, **place)
    from solo.data.dali_dataloader import (  # which needs DALI
        PretrainPipelineBuilder,
        PretrainWrapper,
        build_transform_pipeline_dali,
    )

    transforms = [
        NCropAugmentation(
            build_transform_pipeline_dali(cfg.data.dataset, aug, cfg.dali.device), aug.num_crops
        )
        for aug in cfg.augmentations
    ]
    builder = PretrainPipelineBuilder(
        cfg.data.train_path,
        transforms=FullTransformPipeline(transforms),
        **reading,
    )
    builder.reader, conversion_map = reader_of(cfg, paths, targets, reading)
    pipeline = builder.pipeline(
        batch_size=builder.batch_size,
        num_threads=builder.num_threads,
        device_id=local_rank if cfg.dali.device == "gpu" else None,
        seed=builder.seed,
    )
    pipeline.build()
    return PretrainWrapper(
        dataset_size=pipeline.epoch_size("Reader"),
        conversion_map=conversion_map,
        pipelines=pipeline,
        **iterating,
    )
