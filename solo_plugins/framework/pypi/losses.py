# SPDX-License-Identifier: MIT
"""The losses of solo-learn's PyPI release, on the batch of all processes as on main."""

__all__ = ["simclr_loss", "vicreg_loss"]

import torch
from solo.losses.simclr import simclr_loss_func
from solo.losses.vicreg import vicreg_loss_func
from torch import Tensor

from solo_plugins.distributed import gather_rows


def vicreg_loss(first: Tensor, second: Tensor, **weights: float) -> Tensor:
    """Compute VICReg's loss of two views on the batch of all processes, in float32.

    Args:
        first: outputs (N, D) of one view.
        second: outputs (N, D) of the other, in the same order.
        **weights: ``sim_loss_weight``, ``var_loss_weight`` and ``cov_loss_weight`` (VICReg: 25, 25
            and 1).

    Returns:
        A scalar.

    Example:
        >>> z = torch.tensor([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0], [4.0, 4.0]])
        >>> vicreg_loss(z, z + 1)  # spread and uncorrelated: the distance alone is left
        tensor(25.)
    """
    with torch.autocast(first.device.type, enabled=False):
        return vicreg_loss_func(gather_rows(first.float()), gather_rows(second.float()), **weights)


def simclr_loss(first: Tensor, second: Tensor, *, temperature: float) -> Tensor:
    """Compute SimCLR's loss of two views with the negatives of all processes, in float32.

    Args:
        first: outputs (N, D) of one view; they are normalised here.
        second: outputs (N, D) of the other, in the same order.
        temperature: of the softmax over cosine similarities, positive.

    Returns:
        A scalar: the loss of the joined batch, the same on all processes.

    Example:
        >>> z = torch.eye(2)
        >>> wanted = -torch.log(torch.e / (torch.e + 2 * torch.ones(())))
        >>> torch.allclose(simclr_loss(z, z, temperature=1.0), wanted)
        True
    """
    with torch.autocast(first.device.type, enabled=False):
        views = gather_rows(first.float()), gather_rows(second.float())
        return simclr_loss_func(*views, temperature=temperature)
