# SPDX-License-Identifier: MIT
"""solo-learn's loss functions, with one signature and one meaning on both releases."""

__all__ = ["simclr_loss", "vicreg_loss"]

import torch
from torch import Tensor

from solo_plugins import distributed
from solo_plugins.framework.release import import_solo, release

import_solo()

from solo.losses.simclr import simclr_loss_func  # noqa: E402
from solo.losses.vicreg import vicreg_loss_func  # noqa: E402

_MAIN = release() == "main"


def vicreg_loss(
    first: Tensor,
    second: Tensor,
    *,
    sim_loss_weight: float = 25.0,
    var_loss_weight: float = 25.0,
    cov_loss_weight: float = 1.0,
) -> Tensor:
    """Compute VICReg's loss of two views on the batch of all processes, in float32.

    Args:
        first: outputs (N, D) of one view.
        second: outputs (N, D) of the other, in the same order.
        sim_loss_weight: weight of the mean squared distance.
        var_loss_weight: weight of the variance term.
        cov_loss_weight: weight of the covariance term.

    Returns:
        A scalar.

    Example:
        >>> z = torch.tensor([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0], [4.0, 4.0]])
        >>> vicreg_loss(z, z + 1)  # spread and uncorrelated: the distance alone is left
        tensor(25.)
    """
    with torch.autocast(first.device.type, enabled=False):
        first, second = first.float(), second.float()
        if not _MAIN:  # main gathers by itself
            first, second = distributed.gather_rows(first), distributed.gather_rows(second)
        return vicreg_loss_func(
            first,
            second,
            sim_loss_weight=sim_loss_weight,
            var_loss_weight=var_loss_weight,
            cov_loss_weight=cov_loss_weight,
        )


def simclr_loss(first: Tensor, second: Tensor, *, temperature: float) -> Tensor:
    """Compute SimCLR's loss of two views with the negatives of all processes, in float32.

    Args:
        first: outputs (N, D) of one view; they are normalised here.
        second: outputs (N, D) of the other, in the same order.
        temperature: of the softmax over cosine similarities, positive.

    Returns:
        A scalar; with several processes that of the own samples on main, the mean over all on the
        PyPI release: averaged over processes, values and gradients are the same.

    Example:
        >>> z = torch.eye(2)
        >>> wanted = -torch.log(torch.e / (torch.e + 2 * torch.ones(())))
        >>> torch.allclose(simclr_loss(z, z, temperature=1.0), wanted)
        True
    """
    with torch.autocast(first.device.type, enabled=False):
        first, second = first.float(), second.float()
        if not _MAIN:
            return simclr_loss_func(
                distributed.gather_rows(first),
                distributed.gather_rows(second),
                temperature=temperature,
            )
        indexes = torch.arange(len(first), device=first.device) + distributed.rank() * len(first)
        return simclr_loss_func(
            torch.cat((first, second)), indexes=indexes.repeat(2), temperature=temperature
        )
