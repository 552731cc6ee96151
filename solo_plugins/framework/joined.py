# SPDX-License-Identifier: MIT
"""VICReg and SimCLR of the PyPI release on the batch of all processes, as on main.

The release computes both on each process's own batch: another loss, and for SimCLR another number
of negatives, whenever a run goes on another number of GPUs. With one process its own steps run.
"""

__all__ = ["add_joined_step"]

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from solo_plugins.distributed import gather_rows, world_size
from solo_plugins.framework.release import import_solo

import_solo()

from solo.losses.simclr import manual_simclr_loss_func, simclr_loss_func  # noqa: E402
from solo.losses.vicreg import vicreg_loss_func  # noqa: E402

_Step = Callable[[Any, dict[str, Any], Sequence[Any]], Tensor]


def add_joined_step(bridged: type, legacy: Any) -> None:
    """Let VICReg and SimCLR train on the outputs of all processes; other methods are left alone.

    Args:
        bridged: the class that gets the step.
        legacy: the release's method that it stands in front of.
    """
    step = _STEPS.get(legacy.__name__)
    if step is None:
        return

    def training_step(self: Any, batch: Sequence[Any], batch_idx: int) -> Tensor:
        if world_size() == 1:
            return legacy.training_step(self, batch, batch_idx)
        return step(self, super(legacy, self).training_step(batch, batch_idx), batch)

    bridged.training_step = training_step  # type: ignore[attr-defined]


def _vicreg(method: Any, out: dict[str, Any], batch: Sequence[Any]) -> Tensor:
    first, second = (gather_rows(method.projector(feats)) for feats in out["feats"])
    loss = vicreg_loss_func(
        first,
        second,
        sim_loss_weight=method.sim_loss_weight,
        var_loss_weight=method.var_loss_weight,
        cov_loss_weight=method.cov_loss_weight,
    )
    method.log("train_vicreg_loss", loss, on_epoch=True, sync_dist=True)
    return loss + out["loss"]


def _simclr(method: Any, out: dict[str, Any], batch: Sequence[Any]) -> Tensor:
    indexes, _, targets = batch
    views = [gather_rows(method.projector(feats)) for feats in out["feats"]]
    # What two crops have in common whose outputs belong together.
    keys = gather_rows(targets if method.supervised else indexes)
    positive = method.gen_extra_positives_gt(keys)
    if method.multicrop:
        negative = (~positive).fill_diagonal_(False)
        loss = manual_simclr_loss_func(
            torch.cat(views), pos_mask=positive, neg_mask=negative, temperature=method.temperature
        )
    else:
        extra = positive if method.supervised else None
        loss = simclr_loss_func(*views, extra_pos_mask=extra, temperature=method.temperature)
    number = positive.sum().float() if method.supervised else torch.zeros_like(loss)
    metrics = {"train_nce_loss": loss, "train_n_positives": number}
    method.log_dict(metrics, on_epoch=True, sync_dist=True)
    return loss + out["loss"]


_STEPS: dict[str, _Step] = {"VICReg": _vicreg, "SimCLR": _simclr}
