# SPDX-License-Identifier: MIT
"""The losses of solo-learn's main branch, which gathers the batch of all processes by itself."""

__all__ = ["simclr_loss", "vicreg_loss"]

import torch
from solo.losses.simclr import simclr_loss_func
from solo.losses.vicreg import vicreg_loss_func
from torch import Tensor

from solo_plugins.distributed import rank


def vicreg_loss(first: Tensor, second: Tensor, **weights: float) -> Tensor:
    """Compute VICReg's loss; arguments and result are those of the twin in ``pypi``."""
    with torch.autocast(first.device.type, enabled=False):
        return vicreg_loss_func(first.float(), second.float(), **weights)


def simclr_loss(first: Tensor, second: Tensor, *, temperature: float) -> Tensor:
    """Compute SimCLR's loss; the arguments are those of the twin in ``pypi``.

    The loss is that of this process's own samples. Its mean over processes, in value and gradient,
    is the loss of the joined batch.
    """
    indexes = torch.arange(len(first), device=first.device) + rank() * len(first)
    with torch.autocast(first.device.type, enabled=False):
        views = torch.cat((first.float(), second.float()))
        return simclr_loss_func(views, indexes=indexes.repeat(2), temperature=temperature)
