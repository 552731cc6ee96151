# SPDX-License-Identifier: MIT
"""The losses of solo-learn's main branch, which gathers the batch of all processes by itself."""

__all__ = ["simclr_loss", "vicreg_loss"]

import torch
from solo.losses.simclr import simclr_loss_func
from solo.losses.vicreg import vicreg_loss_func
from torch import Tensor

from solo_plugins.distributed import rank


def vicreg_loss(first: Tensor, second: Tensor, **weights: float) -> Tensor:
    """Compute VICReg's loss of two views on the batch of all processes, in float32.

    Args:
        first: outputs (N, D) of one view.
        second: outputs (N, D) of the other, in the same order.
        **weights: ``sim_loss_weight``, ``var_loss_weight`` and ``cov_loss_weight`` (VICReg: 25, 25
            and 1).

    Returns:
        A scalar.
    """
    with torch.autocast(first.device.type, enabled=False):
        return vicreg_loss_func(first.float(), second.float(), **weights)


def simclr_loss(first: Tensor, second: Tensor, *, temperature: float) -> Tensor:
    """Compute SimCLR's loss of two views with the negatives of all processes, in float32.

    Args:
        first: outputs (N, D) of one view; they are normalised here.
        second: outputs (N, D) of the other, in the same order.
        temperature: of the softmax over cosine similarities, positive.

    Returns:
        A scalar: the loss of this process's own samples. Its mean over processes, in value and
        gradient, is the loss of the joined batch.
    """
    indexes = torch.arange(len(first), device=first.device) + rank() * len(first)
    with torch.autocast(first.device.type, enabled=False):
        views = torch.cat((first.float(), second.float()))
        return simclr_loss_func(views, indexes=indexes.repeat(2), temperature=temperature)
