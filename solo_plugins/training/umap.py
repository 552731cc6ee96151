# SPDX-License-Identifier: MIT
"""A picture of validation features every few epochs, as solo-learn's ``auto_umap`` asks for."""

__all__ = ["AutoUMAP"]

from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import WandbLogger
from omegaconf import DictConfig
from torch.utils.data import DataLoader, Subset
from typing_extensions import override

from solo_plugins.framework import has_projector, outputs
from solo_plugins.pictures.space import METHODS, draw_planes, plane, some
from solo_plugins.runs.files import write_bytes
from solo_plugins.runs.folder import RunFolder

_MOST = 2000  # images; UMAP of so many takes seconds


class AutoUMAP(Callback):
    """Draws PCA and UMAP of backbone and projector after a validation, coloured by class.

    The first process draws evenly spaced validation images, 2,000 at most. Nothing that training
    computes depends on it.

    Args:
        folder: the run's folder; pictures lie in the folder `dir` of it, as ``epoch=3.pdf``.
        cfg: the block ``auto_umap``: ``dir``, ``frequency`` in epochs, and whether older pictures
            are kept (``keep_previous``).
    """

    def __init__(self, folder: RunFolder, cfg: DictConfig) -> None:
        self.path = folder.path / str(cfg.dir)
        self.frequency, self.keep_previous = int(cfg.frequency), bool(cfg.keep_previous)

    @override
    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        epoch = trainer.current_epoch
        if trainer.sanity_checking or epoch % self.frequency or not trainer.is_global_zero:
            return
        rows, labels = _rows(trainer.val_dataloaders, pl_module)
        threads = torch.get_num_threads()
        try:
            planes = {
                (space, method): plane(found, method)
                for space, found in rows.items()
                for method in METHODS
            }
        finally:
            # UMAP takes all cores, and numba's threads are torch's: sums would be others then.
            torch.set_num_threads(threads)
        names = [str(label) if label >= 0 else "" for label in labels]
        figure = draw_planes(planes, names, f"Epoch {epoch}: {len(labels)} validation images")
        self.path.mkdir(parents=True, exist_ok=True)
        path = self.path / f"epoch={epoch}.pdf"
        write_bytes(path, lambda file: figure.savefig(file, format="pdf"))
        if not self.keep_previous:
            for other in self.path.glob("epoch=*.pdf"):
                if other != path:
                    other.unlink()
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_image("validation_umap", [figure])


@torch.no_grad()
def _rows(loader: Any, model: pl.LightningModule) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Compute features and outputs of some validation images, and their labels."""
    loader = loader[0] if isinstance(loader, list) else loader
    chosen = Subset(loader.dataset, some(len(loader.dataset), _MOST).tolist())
    # A generator of its own: a loader draws a number when it starts.
    batches = DataLoader(chosen, loader.batch_size or 256, generator=torch.Generator())
    found: dict[str, list[np.ndarray]] = {}
    labels = []
    backbone: Any = model.backbone
    like = next(model.parameters())
    for images, target in batches:
        feats = backbone(images.to(like.device, like.dtype))
        parts = {"backbone": feats}
        if has_projector(model):
            parts["projector"] = outputs(model, feats)
        for name, part in parts.items():
            found.setdefault(name, []).append(part.float().cpu().numpy())
        labels.append(np.asarray(target))
    return {name: np.concatenate(parts) for name, parts in found.items()}, np.concatenate(labels)
