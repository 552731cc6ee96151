# SPDX-License-Identifier: MIT
"""An average over the pairs of views that are compared."""

__all__ = ["mean_over_pairs"]

import itertools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def mean_over_pairs(
    term: Callable[[Tensor, Tensor], Tensor], views: Sequence[Tensor], num_large: int
) -> Tensor:
    """Average a term over the pairs of views of which at least one is a large crop.

    Args:
        term: a function of two views' outputs (N, D) that gives a scalar.
        views: outputs (N, D) for each crop, large ones first; at least two.
        num_large: how many are large crops, at least one.

    Returns:
        A scalar.

    Raises:
        ValueError: if there is no pair.

    Example:
        >>> from torch.nn import functional as F
        >>> views = [torch.zeros(2, 1), torch.ones(2, 1), torch.full((2, 1), 3.0)]
        >>> mean_over_pairs(F.mse_loss, views, 1)  # 0 with 1 and 0 with 3
        tensor(5.)
    """
    pairs = itertools.combinations(range(len(views)), 2)
    if len(views) < 2 or num_large < 1:
        raise ValueError(
            "Expected at least two views, one of them large, but got "
            f"{len(views)} and `num_large` {num_large}."
        )
    terms = [term(views[first], views[second]) for first, second in pairs if first < num_large]
    return torch.stack(terms).mean()
