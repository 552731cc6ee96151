# SPDX-License-Identifier: MIT
"""A sample of all rows of an epoch, of bounded size, and the effective rank of one."""

__all__ = ["EffectiveRank", "RowSample"]

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat
from typing_extensions import override

from solo_plugins.inputs import check_samples
from solo_plugins.metrics.sample_statistics import effective_rank

# 2^32 over the golden ratio: the multiples of it, modulo 2^32, are spread evenly from the first on
# and in step with no period that data may have (Knuth, The Art of Computer Programming 3, 6.4).
_GOLDEN, _KEYS = 2654435769, 2**32


class RowSample(Metric):
    r"""A sample of at most ``sample_size`` rows, over batches and processes.

    They are the rows whose number i on their process, counted from 0, has the smallest keys
    :math:`i \cdot 2654435769 \bmod 2^{32}`. That is a choice without chance, the same for any size
    of batches, and spread evenly over data that lie by class or in turns. Memory is bounded by
    ``sample_size`` rows on each process, whose samples are thinned out in the same way.

    Args:
        num_outputs: D, positive.
        sample_size: positive.
        **kwargs: those of every ``torchmetrics.Metric``.

    Raises:
        ValueError: if a size is no positive integer.
    """

    is_differentiable = False
    higher_is_better = None
    full_state_update = False

    num_rows: Tensor
    sample: list[Tensor]
    keys: list[Tensor]

    def __init__(self, num_outputs: int, *, sample_size: int = 1024, **kwargs: Any) -> None:
        for name, size in (("num_outputs", num_outputs), ("sample_size", sample_size)):
            if not isinstance(size, int) or size < 1:
                raise ValueError(f"Expected `{name}` to be a positive integer but got {size!r}.")
        super().__init__(**kwargs)
        self.num_outputs, self.sample_size = num_outputs, sample_size
        zero = torch.zeros((), dtype=torch.int64)
        self.add_state("num_rows", zero, dist_reduce_fx="sum")
        self.add_state("sample", [], dist_reduce_fx="cat")
        self.add_state("keys", [], dist_reduce_fx="cat")

    def update(self, z: Tensor) -> None:
        """Take in a batch.

        Args:
            z: rows (N, D), of any floating dtype.

        Raises:
            ValueError: if `z` is of another shape.
            TypeError: if it is complex.
        """
        check_samples("z", z, dim=self.num_outputs, empty=True)
        z = z.detach()
        number = self.num_rows + torch.arange(len(z), device=z.device)
        rows, keys = _smallest(z.float(), number * _GOLDEN % _KEYS, self.sample_size)
        rows, keys = torch.cat([*self.sample, rows]), torch.cat([*self.keys, keys])
        rows, keys = _smallest(rows, keys, self.sample_size)
        self.sample, self.keys = [rows], [keys]
        self.num_rows = self.num_rows + len(z)

    def joined_sample(self) -> Tensor:
        """Return the rows of all processes (n, D) with n at most ``sample_size``, in float32.

        Raises:
            ValueError: if there was no batch.
        """
        if len(self.sample) == 0:
            raise ValueError("Expected `update` to be called before `compute` but it was not.")
        rows, _ = _smallest(dim_zero_cat(self.sample), dim_zero_cat(self.keys), self.sample_size)
        return rows


class EffectiveRank(RowSample):
    """The effective rank of a sample of rows: how many directions features spread over.

    This is RankMe, but for the mean row, which is subtracted here as for the outputs.

    Arguments and errors are those of :class:`RowSample`.

    Example:
        >>> rank = EffectiveRank(2)
        >>> rank.update(torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]]))
        >>> rank.compute()
        tensor(2., dtype=torch.float64)

    References:
        Garrido et al., RankMe, https://arxiv.org/abs/2210.02885
    """

    @override
    def compute(self) -> Tensor:
        """Compute it, see :func:`~solo_plugins.metrics.effective_rank`.

        Returns:
            A scalar in [1, min(n - 1, D)], float64; NaN if a row is not finite.

        Raises:
            ValueError: if there was no batch.
        """
        sample = self.joined_sample()
        if not sample.isfinite().all():
            return sample.new_full((), torch.nan, dtype=torch.float64)
        return effective_rank(sample)


def _smallest(rows: Tensor, keys: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the `count` rows of the smallest keys, and these, in ascending order."""
    # Stable: rows of different processes may have the same key.
    order = keys.argsort(stable=True)[:count]
    return rows[order], keys[order]
