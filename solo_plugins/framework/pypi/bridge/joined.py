# SPDX-License-Identifier: MIT
"""VICReg and SimCLR of the PyPI release on the batch of all processes, as on main.

The release computes both on each process's own batch: another loss, and for SimCLR another number
of negatives, whenever a run goes on another number of GPUs. With one process its own steps run.
"""

__all__ = ["JoinedSimCLR", "JoinedVICReg"]

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from solo.losses.simclr import manual_simclr_loss_func, simclr_loss_func
from solo.losses.vicreg import vicreg_loss_func
from solo.methods.base import BaseMethod
from torch import Tensor
from typing_extensions import override

from solo_plugins.distributed import gather_rows, world_size


class _Joined:
    """Stands in front of a method and replaces its loss if there are several processes."""

    @override
    def training_step(self, batch: Sequence[Any], batch_idx: int) -> Tensor:
        if world_size() == 1:
            return super().training_step(batch, batch_idx)
        out = BaseMethod.training_step(self, batch, batch_idx)
        views = [gather_rows(self.projector(feats)) for feats in out["feats"]]
        return self._joined_loss(views, batch) + out["loss"]

    @abstractmethod
    def _joined_loss(self, views: list[Tensor], batch: Sequence[Any]) -> Tensor:
        """Compute and log the method's loss from all processes' outputs (N, D) of each crop."""


class JoinedVICReg(_Joined):
    """VICReg's variances and covariances are those of the batch of all processes."""

    @override
    def _joined_loss(self, views: list[Tensor], batch: Sequence[Any]) -> Tensor:
        loss = vicreg_loss_func(
            *views,
            sim_loss_weight=self.sim_loss_weight,
            var_loss_weight=self.var_loss_weight,
            cov_loss_weight=self.cov_loss_weight,
        )
        self.log("train_vicreg_loss", loss, on_epoch=True, sync_dist=True)
        return loss


class JoinedSimCLR(_Joined):
    """SimCLR's positives and negatives are from the batch of all processes."""

    @override
    def _joined_loss(self, views: list[Tensor], batch: Sequence[Any]) -> Tensor:
        indexes, _, targets = batch
        # What two crops have in common whose outputs belong together.
        keys = gather_rows(targets if self.supervised else indexes)
        positive = self.gen_extra_positives_gt(keys)
        if self.multicrop:
            negative = (~positive).fill_diagonal_(False)
            loss = manual_simclr_loss_func(
                torch.cat(views), pos_mask=positive, neg_mask=negative, temperature=self.temperature
            )
        else:
            extra = positive if self.supervised else None
            loss = simclr_loss_func(*views, extra_pos_mask=extra, temperature=self.temperature)
        number = positive.sum().float() if self.supervised else torch.zeros_like(loss)
        metrics = {"train_nce_loss": loss, "train_n_positives": number}
        self.log_dict(metrics, on_epoch=True, sync_dist=True)
        return loss
