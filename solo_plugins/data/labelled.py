# SPDX-License-Identifier: MIT
"""Single labelled images, for classifiers on top of a pretrained network."""

__all__ = ["LabelledDataModule"]

from functools import cached_property

from omegaconf import DictConfig
from torch.utils.data import Dataset

from solo_plugins.data.module import PretrainDataModule
from solo_plugins.data.transforms import eval_transform, train_transform


class LabelledDataModule(PretrainDataModule):
    """Training and validation images with their labels.

    Args:
        cfg: the parsed configuration; ``data``, the first of ``augmentations`` for crop size and
            normalisation, ``seed`` and ``optimizer.batch_size`` are read.
        augment: whether training images are augmented; without, they are transformed like those of
            validation.
    """

    def __init__(self, cfg: DictConfig, *, augment: bool = True) -> None:
        super().__init__(cfg)
        self.augment = augment

    def _size_notes(self) -> list[str]:
        return []  # the crop size is that of pretraining

    @cached_property
    def train_set(self) -> Dataset:
        """The training set, of (image, target)."""
        transform = train_transform(self.cfg) if self.augment else eval_transform(self.cfg)
        return self._labelled(train=True, transform=transform)
