# SPDX-License-Identifier: MIT
"""A data module of features, with which a frozen network runs once, not once per epoch."""

__all__ = ["FeatureDataModule", "without_backbone"]

from functools import cached_property
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import nn
from torch.utils.data import Dataset, TensorDataset

from solo_plugins.data import LabelledDataModule
from solo_plugins.evaluation.features import extract


class FeatureDataModule(LabelledDataModule):
    """The features of training and validation images, not augmented, with their labels.

    Args:
        images: where the images come from; built with ``augment=False``.
        model: what has the frozen ``backbone``. It is moved to `device` while features are computed
            and left in evaluation mode.
        device: where to compute features; they are kept on the CPU.
    """

    def __init__(
        self, images: LabelledDataModule, model: LightningModule, device: torch.device
    ) -> None:
        # Rows of a tensor are not worth a process.
        cfg = images.cfg.copy()
        cfg.data.num_workers, cfg.data.format = 0, "image_folder"
        super().__init__(cfg, augment=False)
        self.images = images
        self.model, self.device = model.eval(), device

    @cached_property
    def train_set(self) -> Dataset:
        """The training set, of (features (F,), target)."""
        return self._features(train=True)

    @cached_property
    def val_set(self) -> Dataset | None:
        """The validation set, of (features (F,), target)."""
        return self._features(train=False) if self.images.validates else None

    def _features(self, *, train: bool) -> TensorDataset:
        loader = self.images.every_image(train=train)
        self.model.to(self.device)
        found = extract(self.model, loader, ["backbone"], self.device)
        self.model.cpu()
        return TensorDataset(found.by_name["backbone"], found.targets)


def without_backbone(model: Any) -> Any:
    """Let a linear model take features in place of images.

    Args:
        model: a linear model, changed in place.

    Returns:
        The same model, of which only the classifier is left.
    """
    model.backbone = nn.Identity()
    model.no_channel_last = True  # features have no channels
    return model
