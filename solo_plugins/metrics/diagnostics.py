# SPDX-License-Identifier: MIT
"""Diagnostics of outputs over an epoch: sparsity, collapse, rank, marginals, dependence."""

__all__ = ["OutputDiagnostics"]

from typing import Any

import torch
from torch import Tensor

from solo_plugins.distributions import Quantiles
from solo_plugins.metrics.row_sample import RowSample
from solo_plugins.metrics.sample_statistics import (
    effective_rank,
    marginal_distance,
    nhsic,
)
from solo_plugins.metrics.sparsity import l1_by_row


class OutputDiagnostics(RowSample):
    r"""Diagnostics of outputs, accumulated over batches and processes.

    Shares are counted over all rows seen. What needs the rows side by side is computed on a sample
    of at most ``sample_size``, see :class:`~solo_plugins.metrics.row_sample.RowSample`.

    Args:
        num_outputs: D, positive.
        target: the distribution that each output is matched to, with ``icdf`` and of batch shape ()
            or (D,), or None. The attribute of this name may be set at any time: ``compute`` takes
            what it finds.
        sample_size: positive.
        **kwargs: those of every ``torchmetrics.Metric``.

    Raises:
        ValueError: if a size is no positive integer.

    Example:
        >>> diagnostics = OutputDiagnostics(2)
        >>> diagnostics.update(torch.tensor([[0.0, 2.0], [0.0, 0.0]]))
        >>> diagnostics.update(torch.tensor([[0.0, 1.0], [0.0, 3.0]]))
        >>> found = {name: value.item() for name, value in diagnostics.compute().items()}
        >>> found["l0"], found["l1"], found["all_zero_rows"], found["dead_outputs"]
        (0.375, 0.5, 0.25, 0.5)
    """

    num_zero_rows: Tensor
    num_active: Tensor
    l1_sum: Tensor

    def __init__(
        self,
        num_outputs: int,
        target: Quantiles | None = None,
        *,
        sample_size: int = 1024,
        **kwargs: Any,
    ) -> None:
        # Not cached: the target may be another one the next time.
        super().__init__(num_outputs, sample_size=sample_size, compute_with_cache=False, **kwargs)
        self.target = target
        zero = torch.zeros((), dtype=torch.int64)
        self.add_state("num_zero_rows", zero, dist_reduce_fx="sum")
        self.add_state("num_active", zero.new_zeros(num_outputs), dist_reduce_fx="sum")
        self.add_state("l1_sum", zero.double(), dist_reduce_fx="sum")

    def update(self, z: Tensor) -> None:
        """Count a batch.

        Args:
            z: outputs (N, D), of any floating dtype.

        Raises:
            ValueError: if `z` is of another shape.
        """
        super().update(z)
        if not len(z):
            return
        z = z.detach()
        active = z != 0
        zero_rows = ~active.any(dim=1)
        self.num_zero_rows = self.num_zero_rows + zero_rows.sum()
        self.num_active = self.num_active + active.sum(dim=0)
        l1 = torch.where(zero_rows, 0.0, l1_by_row(z)).double().sum()
        # In float64 even after Lightning has cast the model, and with it this state, to bfloat16
        self.l1_sum = self.l1_sum.double() + l1

    def compute(self) -> dict[str, Tensor]:
        r"""Compute the diagnostics of everything seen so far, on all processes.

        Returns:
            Scalars in float64. Shares in [0, 1] of all rows or outputs seen:

            - ``l0``: entries that are not zero.
            - ``l1``: :math:`(\lVert z \rVert_1 / \lVert z \rVert_2)^2 / D`, averaged over the rows
              that are not all zero; NaN if there is none.
            - ``all_zero_rows``: rows of which every output is zero.
            - ``dead_outputs``: outputs that are zero in every row.
            - ``always_on_outputs``: outputs that are zero in no row.

            And of the sample, NaN if it is not finite: ``effective_rank``, ``marginal_distance``
            (missing without a target) and ``nhsic``, see
            :mod:`~solo_plugins.metrics.sample_statistics`.

        Raises:
            ValueError: if there was no batch.
        """
        rows = self.num_rows.double()
        values = {
            "l0": self.num_active.sum() / (rows * self.num_outputs),
            "l1": self.l1_sum.double() / (rows - self.num_zero_rows),
            "all_zero_rows": self.num_zero_rows / rows,
            "dead_outputs": (self.num_active == 0).double().mean(),
            "always_on_outputs": (self.num_active == self.num_rows).double().mean(),
        }
        return values | self._of_sample()

    def _of_sample(self) -> dict[str, Tensor]:
        sample = self.joined_sample()
        names = ["effective_rank", "marginal_distance", "nhsic"]
        if self.target is None:
            names.remove("marginal_distance")
        if not sample.isfinite().all():
            return {name: sample.new_full((), torch.nan, dtype=torch.float64) for name in names}
        values = {"effective_rank": effective_rank(sample), "nhsic": nhsic(sample)}
        if self.target is not None:
            values["marginal_distance"] = marginal_distance(sample, self.target)
        return {name: values[name] for name in names}
