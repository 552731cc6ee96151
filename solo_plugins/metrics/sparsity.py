# SPDX-License-Identifier: MIT
"""Measures of the sparsity and the collapse of a batch of outputs."""

__all__ = ["all_zero_rows", "dead_outputs", "l0_sparsity", "l1_by_row", "l1_sparsity"]

import torch
from torch import Tensor

from solo_plugins.inputs import check_samples


@torch.no_grad()
def l0_sparsity(z: Tensor) -> Tensor:
    """Compute the active fraction: the fraction of outputs that are not exactly zero.

    It is what the target's `active_probability` asks for, so the two are compared directly.

    Args:
        z: outputs (N, D), real numbers of any kind, N and D positive.

    Returns:
        A scalar in [0, 1]; 1 is dense, lower is sparser (the paper's m_l0).

    Example:
        >>> l0_sparsity(torch.tensor([[0.0, 1.0], [2.0, 3.0]]))
        tensor(0.7500)
    """
    check_samples("z", z)
    return (z != 0).float().mean()


@torch.no_grad()
def l1_sparsity(z: Tensor) -> Tensor:
    r"""Average :math:`(\lVert z \rVert_1 / \lVert z \rVert_2)^2 / D` over rows that are not zero.

    Args:
        z: outputs (N, D), real numbers of any kind, N and D positive.

    Returns:
        A scalar in [1/D, 1] (the paper's m_l1): 1/D for one active output, 1 for D equal ones. NaN
        if all rows are zero: how many are is counted by :func:`all_zero_rows`.

    Example:
        >>> l1_sparsity(torch.tensor([[0.0, 1.0], [2.0, 2.0], [0.0, 0.0]]))
        tensor(0.7500)
    """
    check_samples("z", z)
    active = (z != 0).any(dim=1)
    return torch.where(active, l1_by_row(z), 0.0).sum() / active.sum()


@torch.no_grad()
def l1_by_row(z: Tensor) -> Tensor:
    r"""Compute :math:`(\lVert z \rVert_1 / \lVert z \rVert_2)^2 / D` for every sample.

    Args:
        z: outputs (N, D), real numbers of any kind, N and D positive.

    Returns:
        Values (N,) in [1/D, 1], NaN for rows that are all zero.

    Example:
        >>> l1_by_row(torch.tensor([[0.0, 1.0], [2.0, 2.0], [0.0, 0.0]]))
        tensor([0.5000, 1.0000,    nan])
    """
    check_samples("z", z)
    z = (z if z.dtype == torch.float64 else z.float()).abs()
    z = (z / z.amax(dim=1, keepdim=True)).float()  # so that no square under- or overflows
    return (z.sum(dim=1) / z.norm(dim=1)).square() / z.size(1)


@torch.no_grad()
def all_zero_rows(z: Tensor) -> Tensor:
    """Compute the fraction of samples whose outputs are all zero.

    Args:
        z: outputs (N, D), real numbers of any kind, N and D positive.

    Returns:
        A scalar in [0, 1].
    """
    check_samples("z", z)
    return (z == 0).all(dim=1).float().mean()


@torch.no_grad()
def dead_outputs(z: Tensor) -> Tensor:
    """Compute the fraction of outputs that are zero for every sample.

    Args:
        z: outputs (N, D), real numbers of any kind, N and D positive.

    Returns:
        A scalar in [0, 1].
    """
    check_samples("z", z)
    return (z == 0).all(dim=0).float().mean()
