# SPDX-License-Identifier: MIT
"""solo-learn's datasets and its DALI pipelines, by main's names on both releases."""

__all__ = [
    "FullTransformPipeline",
    "NCropAugmentation",
    "build_transform_pipeline",
    "dali_train_loader",
    "dataset_with_index",
    "normalization",
    "prepare_datasets",
]

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from torch.utils.data import Dataset

from solo_plugins.errors import ConfigurationError
from solo_plugins.framework.release import release
from solo_plugins.framework.transforms import build_transform_pipeline, normalization

if release() == "main":
    from solo.data.pretrain_dataloader import (
        FullTransformPipeline,
        NCropAugmentation,
        dataset_with_index,
        prepare_datasets,
    )
else:
    from solo.utils.pretrain_dataloader import (
        FullTransformPipeline,
        NCropAugmentation,
        dataset_with_index,
    )
    from solo.utils.pretrain_dataloader import prepare_datasets as _prepare_datasets

    def prepare_datasets(
        dataset: str,
        transform: Callable,
        train_data_path: str | Path | None = None,
        data_format: str = "image_folder",
        no_labels: bool = False,
        download: bool = True,
        data_fraction: float = -1.0,
    ) -> Dataset:
        """Prepare a training set of (index, crops, target).

        Args:
            dataset: ``data.dataset``.
            transform: a function of a PIL image.
            train_data_path: where the images are, or where to download them to.
            data_format: ``image_folder``; the PyPI release has no other.
            no_labels: whether a custom folder holds images without class folders.
            download: ignored, the release downloads what is missing.
            data_fraction: the share of the images to use, or -1 for all.

        Returns:
            The training set.

        Raises:
            ConfigurationError: if `data_format` is not available.
        """
        if data_format != "image_folder":
            raise ConfigurationError(
                "Expected `data.format` to be image_folder or dali with solo-learn 1.0.2 but got "
                f"{data_format!r}; h5 needs solo-learn's main branch."
            )
        root = None if train_data_path is None else Path(train_data_path)
        out = _prepare_datasets(dataset, transform, root, ".", no_labels)
        if data_fraction > 0:
            _keep_fraction(out, data_fraction)
        return out

    def _keep_fraction(dataset: Any, fraction: float) -> None:
        from sklearn.model_selection import train_test_split

        split: dict[str, Any] = {"train_size": fraction, "random_state": 42}
        if hasattr(dataset, "images"):
            dataset.images, _ = train_test_split(dataset.images, **split)
        else:
            targets = [target for _, target in dataset.samples]
            dataset.samples, _ = train_test_split(dataset.samples, stratify=targets, **split)


def dali_train_loader(cfg: DictConfig, *, rank: int, local_rank: int, world_size: int) -> Iterable:
    """Build solo-learn's DALI pipeline over an image folder for one process.

    Args:
        cfg: the configuration.
        rank: the process's number among all.
        local_rank: the process's number on its machine.
        world_size: the number of processes.

    Returns:
        An iterator, with a length, of (indexes, crops, targets).

    Raises:
        ConfigurationError: if DALI is not installed, or cannot do what `augmentations` asks for.
    """
    try:
        import nvidia.dali  # noqa: F401
    except ImportError as error:
        raise ConfigurationError(
            "`data.format: dali` needs NVIDIA DALI: pip install 'solo_plugins[dali]'."
        ) from error
    if release() == "main":
        from solo_plugins.framework.dali_native import train_loader
    else:
        from solo_plugins.framework.dali_bridge import train_loader
    return train_loader(cfg, rank=rank, local_rank=local_rank, world_size=world_size)
