# SPDX-License-Identifier: MIT
"""The datasets and augmentations of solo-learn's main branch, as they are."""

__all__ = [
    "FullTransformPipeline",
    "NCropAugmentation",
    "build_transform_pipeline",
    "dataset_with_index",
    "prepare_datasets",
]

from solo.data.pretrain_dataloader import (
    FullTransformPipeline,
    NCropAugmentation,
    build_transform_pipeline,
    dataset_with_index,
    prepare_datasets,
)
