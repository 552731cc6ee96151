# SPDX-License-Identifier: MIT
"""How sparse outputs are, and whether they have collapsed."""

__all__ = ["all_zero_rows", "dead_outputs", "l0_sparsity", "l1_sparsity"]

import torch
from torch import Tensor


@torch.no_grad()
def l0_sparsity(z: Tensor) -> Tensor:
    """Compute the share of outputs that are not exactly zero, averaged over samples.

    Args:
        z: outputs (N, D).

    Returns:
        A scalar in [0, 1]; 1 is dense, lower is sparser (the paper's m_l0).

    Example:
        >>> l0_sparsity(torch.tensor([[0.0, 1.0], [2.0, 3.0]]))
        tensor(0.7500)
    """
    return (z != 0).float().mean()


@torch.no_grad()
def l1_sparsity(z: Tensor) -> Tensor:
    r"""Compute :math:`(\lVert z \rVert_1 / \lVert z \rVert_2)^2 / D`, averaged over samples.

    Args:
        z: outputs (N, D).

    Returns:
        A scalar in [0, 1] (the paper's m_l1): 1/D for one active output, 1 for D equal ones. A row
        of zeros counts as 0, so that a collapse looks ideal: see :func:`all_zero_rows`.

    Example:
        >>> l1_sparsity(torch.tensor([[0.0, 1.0], [2.0, 2.0]]))
        tensor(0.7500)
    """
    z = z.float().abs()
    peak = z.amax(dim=1, keepdim=True)  # so that no square under- or overflows
    z = z / torch.where(peak > 0, peak, torch.ones_like(peak))
    norm = z.norm(dim=1)
    ratio = z.sum(dim=1) / torch.where(norm > 0, norm, torch.ones_like(norm))
    return ratio.square().mean() / z.size(1)


@torch.no_grad()
def all_zero_rows(z: Tensor) -> Tensor:
    """Compute the share of samples of which every output is zero.

    Args:
        z: outputs (N, D).

    Returns:
        A scalar in [0, 1].
    """
    return (z == 0).all(dim=1).float().mean()


@torch.no_grad()
def dead_outputs(z: Tensor) -> Tensor:
    """Compute the share of outputs that are zero for every sample.

    Args:
        z: outputs (N, D).

    Returns:
        A scalar in [0, 1].
    """
    return (z == 0).all(dim=0).float().mean()
