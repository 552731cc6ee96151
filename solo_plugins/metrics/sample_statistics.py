# SPDX-License-Identifier: MIT
"""Statistics of a sample of outputs: rank, marginals and dependence."""

__all__ = ["effective_rank", "marginal_distance", "nhsic"]

import torch
from torch import Tensor

from solo_plugins.distributions import Quantiles
from solo_plugins.inputs import check_samples

# Of so many rows and outputs nHSIC is computed: 64 kernels of 256 x 256 are 32 MiB.
_HSIC_ROWS, _HSIC_OUTPUTS = 256, 64


@torch.no_grad()
def effective_rank(sample: Tensor) -> Tensor:
    r"""Compute the exponential of the entropy of the normalised singular values.

    With :math:`\sigma_i` the singular values of the sample less its mean row and
    :math:`q_i = \sigma_i / \sum_j \sigma_j`, that is :math:`\exp(-\sum_i q_i \log q_i)`.

    Args:
        sample: outputs (N, D), finite.

    Returns:
        A scalar in [1, min(N - 1, D)], float64: how many directions the outputs spread over; 0 if
        all rows are equal.

    Example:
        >>> square = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
        >>> effective_rank(square)
        tensor(2., dtype=torch.float64)

    References:
        Roy and Vetterli, The effective rank, EUSIPCO 2007, definition 1.
    """
    check_samples("sample", sample)
    sample = sample.double()
    peak = sample.abs().amax()
    sample = sample / torch.where(peak > 0, peak, 1.0)  # so that no square under- or overflows
    sigma = torch.linalg.svdvals(sample - sample.mean(dim=0))
    # What centring leaves of equal rows is rounding.
    rounding = max(sample.shape) * torch.finfo(sample.dtype).eps * torch.linalg.norm(sample)
    sigma = torch.where(sigma > rounding, sigma, 0.0)
    total = sigma.sum()
    share = sigma / torch.where(total > 0, total, 1.0)
    return torch.where(total > 0, torch.special.entr(share).sum().exp(), 0.0)


@torch.no_grad()
def marginal_distance(sample: Tensor, target: Quantiles) -> Tensor:
    r"""Compute the 2-Wasserstein distance of each output to the target, averaged over outputs.

    With :math:`z_{(1)d} \le \dots \le z_{(N)d}` the sorted values of output d and Q the target's
    quantile function, the distance of one output is

    .. math:: \Bigl(\frac{1}{N} \sum_{i=1}^{N} \bigl(z_{(i)d} - Q((i - 1/2) / N)\bigr)^2
        \Bigr)^{1/2}

    Args:
        sample: outputs (N, D).
        target: a distribution with ``icdf``, of batch shape () or (D,) and on any device.

    Returns:
        A scalar, non-negative, in the unit of the outputs, float64. Of draws from the target it is
        not zero but of the order of :math:`N^{-1/2}`.

    Example:
        >>> uniform = torch.distributions.Uniform(0.0, 1.0)
        >>> marginal_distance(torch.tensor([[1.75], [1.25]]), uniform)
        tensor(1., dtype=torch.float64)
    """
    check_samples("sample", sample)
    ranks = torch.arange(len(sample), dtype=torch.float64)[:, None]
    # The distribution's parameters stay where they are, which is the CPU.
    quantiles = target.icdf((ranks + 0.5) / len(sample)).double().to(sample.device)
    distances = sample.double().sort(dim=0).values - quantiles
    return distances.square().mean(dim=0).sqrt().mean()


@torch.no_grad()
def nhsic(sample: Tensor) -> Tensor:
    r"""Compute the normalised HSIC of two outputs, averaged over all pairs of a few outputs.

    For one output with values :math:`x_1, \dots, x_n` the kernel matrix is
    :math:`K_{ij} = \exp(-(x_i - x_j)^2 / (2 s^2))`, with s the median of :math:`|x_i - x_j|` over
    the pairs of different values; over all pairs it would be zero for sparse outputs. With
    :math:`H = I - 1 1^T / n` and L the kernel matrix of another output,

    .. math:: \mathrm{nHSIC} = \frac{\mathrm{HSIC}(K, L)}
        {\sqrt{\mathrm{HSIC}(K, K) \, \mathrm{HSIC}(L, L)}}, \quad
        \mathrm{HSIC}(K, L) = \frac{\mathrm{tr}(K H L H)}{(n - 1)^2}

    Args:
        sample: outputs (N, D), finite. The first 256 rows are used and, if D is above 64, the
            outputs :math:`\lfloor i D / 64 \rfloor`. Of these, outputs that are constant on the
            rows are left out.

    Returns:
        A scalar in [0, 1], float64: 1 for outputs that are copies of each other. The estimate is
        biased: for independent outputs it is not zero but of the order of 1 / n. NaN if fewer
        than two outputs are left.

    Example:
        >>> x = torch.tensor([0.0, 1.0, 2.0, 4.0])
        >>> round(float(nhsic(torch.stack([x, 3 * x, torch.ones(4)], dim=1))), 12)
        1.0

    References:
        Gretton et al., Measuring statistical dependence with Hilbert-Schmidt norms, ALT 2005,
        definition 2; normalised as the kernel alignment of Cortes et al., JMLR 2012.
    """
    check_samples("sample", sample)
    rows, dim = sample[:_HSIC_ROWS].double(), sample.size(1)
    count = min(dim, _HSIC_OUTPUTS)
    rows = rows[:, torch.arange(count, device=rows.device) * dim // count]
    rows = rows[:, (rows != rows[:1]).any(dim=0)]
    count = rows.size(1)
    if count < 2:
        return rows.new_full((), float("nan"))
    kernels = _centred_kernels(rows.T)
    alignment = torch.nn.functional.normalize(kernels.flatten(1), dim=1)
    pairs = torch.triu_indices(count, count, 1, device=rows.device)
    return (alignment @ alignment.T)[pairs[0], pairs[1]].mean()


def _centred_kernels(outputs: Tensor) -> Tensor:
    """Compute H K H (M, n, n) of each of the outputs (M, n), none of them constant."""
    distances = (outputs[:, :, None] - outputs[:, None, :]).abs()
    n = outputs.size(1)
    first, second = torch.triu_indices(n, n, 1, device=outputs.device)
    between = distances[:, first, second]
    width = torch.where(between > 0, between, float("nan")).nanquantile(0.5, dim=1)
    kernels = torch.exp(-(distances / width[:, None, None]).square() / 2)
    kernels = kernels - kernels.mean(dim=1, keepdim=True)
    return kernels - kernels.mean(dim=2, keepdim=True)
