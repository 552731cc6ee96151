# SPDX-License-Identifier: MIT
"""The datasets and augmentations of solo-learn's main branch, as they are."""

__all__ = [
    "FORMATS",
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

# The values of ``data.format`` that this release reads.
FORMATS: tuple[str, ...] = ("image_folder", "dali", "h5")
