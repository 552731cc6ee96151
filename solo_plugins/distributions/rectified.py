# SPDX-License-Identifier: MIT
"""The rectified generalized Gaussian distribution, the target of Rectified LpJEPA."""

__all__ = ["RectifiedGeneralizedGaussian"]

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints
from typing_extensions import override

from solo_plugins.distributions.generalized_gaussian import GeneralizedGaussian

# Nearer to zero than this, in units of the scale, `loc` is expanded to first order: the cusp of
# |loc|^p has no gradient there, what is computed from it does.
_NEAR_ZERO = 1e-30


class RectifiedGeneralizedGaussian(Distribution):
    r"""The rectified generalized Gaussian: ReLU(X) with X from :math:`GN_p(\mu, \sigma)`.

    Its law is a point mass :math:`P(X \le 0)` at zero and the density of X on :math:`(0, \infty)`;
    ``log_prob`` and ``entropy`` are taken against a unit point mass at zero plus Lebesgue measure
    on the positive numbers.

    It is the target of Rectified LpJEPA because, of all laws with the same mass at zero and the
    same mean of :math:`|x - \mu|^p` over the positive numbers, it has the largest entropy: a
    sparsity and a scale are asked of an output, and nothing else.

    Args:
        loc: :math:`\mu` of X, any real number.
        scale: :math:`\sigma` of X, positive, in the unit of x.
        p: the exponent of X, positive.
        validate_args: as for every torch distribution.

    Example:
        >>> target = RectifiedGeneralizedGaussian(-1.0, math.sqrt(0.5), 1.0)
        >>> target.active_probability
        tensor(0.1216)
        >>> target.mean, target.variance
        (tensor(0.0860), tensor(0.1142))

    References:
        Rectified LpJEPA, https://arxiv.org/abs/2602.01456, definition 3.4 and proposition 3.5.
    """

    arg_constraints = GeneralizedGaussian.arg_constraints
    support: Any = constraints.nonnegative
    has_rsample = True

    def __init__(
        self,
        loc: float | Tensor,
        scale: float | Tensor,
        p: float | Tensor,
        validate_args: bool | None = None,
    ) -> None:
        self.base_dist = GeneralizedGaussian(loc, scale, p, validate_args=validate_args)
        super().__init__(self.base_dist.batch_shape, validate_args=validate_args)

    def __repr__(self) -> str:
        return f"Rectified{self.base_dist}"

    @property
    def loc(self) -> Tensor:
        """The location before rectification."""
        return self.base_dist.loc

    @property
    def scale(self) -> Tensor:
        """The scale before rectification."""
        return self.base_dist.scale

    @property
    def p(self) -> Tensor:
        """The exponent."""
        return self.base_dist.p

    @override
    def expand(
        self, batch_shape: Sequence[int], _instance: Any = None
    ) -> "RectifiedGeneralizedGaussian":
        new: Any = self._get_checked_instance(RectifiedGeneralizedGaussian, _instance)
        new.base_dist = self.base_dist.expand(batch_shape)
        Distribution.__init__(new, new.base_dist.batch_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    @property
    def can_be_recorded(self) -> bool:
        """As for the base distribution."""
        return self.base_dist.can_be_recorded

    @property
    def active_probability(self) -> Tensor:
        """P(Y > 0), the expected active fraction of outputs."""
        return self._active(1.0).to(self.loc.dtype)

    @property
    def mean(self) -> Tensor:
        """The mean, in closed form."""
        return self._moments()[0].to(self.loc.dtype)

    @property
    def second_moment(self) -> Tensor:
        """E[Y^2], which is also what an output that is always zero costs in RDMReg."""
        return self._moments()[1].to(self.loc.dtype)

    @property
    def variance(self) -> Tensor:
        """The variance, in closed form."""
        first, second = self._moments()
        return (second - first.square()).to(self.loc.dtype)

    def rsample(
        self,
        sample_shape: Any = (),
        *,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """Rectify samples of the base distribution, whose arguments these are."""
        return self.base_dist.rsample(sample_shape, generator=generator, device=device).relu_()

    sample = GeneralizedGaussian.sample

    def log_prob(self, value: Tensor) -> Tensor:
        """Compute the log-density against a unit point mass at 0 plus Lebesgue on (0, inf).

        Args:
            value: non-negative, broadcastable with the batch shape.

        Returns:
            log P(Y = 0) where `value` is zero, the base's log-density elsewhere.
        """
        if self._validate_args:
            self._validate_sample(value)
        # One scale from the peak, where an exponent below 1 has no gradient.
        harmless = (self.loc + self.scale).detach()
        dense = self.base_dist.log_prob(torch.where(value > 0, value, harmless))
        atom = self._active(-1.0)
        log_atom = torch.where(atom > 0, atom, 1.0).log().to(dense.dtype)
        log_atom = torch.where((atom > 0) & (value == 0), log_atom, -math.inf)
        return torch.where(value > 0, dense, log_atom)

    @override
    def cdf(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return torch.where(value >= 0, self.base_dist.cdf(value.clamp_min(0)), 0.0)

    def icdf(self, value: Tensor) -> Tensor:
        """Compute the quantile of a probability.

        Args:
            value: probabilities in [0, 1], broadcastable with the batch shape.

        Returns:
            The quantile, zero for all probabilities up to the point mass.
        """
        return self.base_dist.icdf(value).relu()

    @override
    def entropy(self) -> Tensor:
        p = self.p.double()
        atom, active = self._active(-1.0), self._active(1.0)
        loc, near = self._off_zero()
        exponent = (loc.abs() / self.scale.double()).pow(p) / p
        above = torch.sign(loc) * torch.special.gammainc(1 / p + 1, exponent)
        # E[T; X > 0] for T = |X - loc|^p / (p scale^p), the exponent of the density
        inner = (1 + torch.where(near, 0.0, above)) / (2 * p)
        dense = inner - active * (self._standard_peak().log() - self.scale.double().log())
        positive = torch.where(atom > 0, atom, 1.0)
        return (dense - positive * positive.log()).to(self.loc.dtype)

    def _standard_peak(self) -> Tensor:
        """The density of GN_p(0, 1) at zero, in float64."""
        p = self.p.double()
        return torch.exp((1 - 1 / p) * p.log() - math.log(2) - torch.lgamma(1 / p))

    def _off_zero(self) -> tuple[Tensor, Tensor]:
        """`loc` in float64, one scale where it is near zero, and where that is."""
        loc, scale = self.loc.double(), self.scale.double()
        near = loc.detach().abs() < _NEAR_ZERO * scale.detach()
        return torch.where(near, scale.detach(), loc), near

    def _active(self, side: float) -> Tensor:
        """P(X > 0), or P(X <= 0) with side -1, in float64 and exact in both tails."""
        p, scale = self.p.double(), self.scale.double()
        loc, near = self._off_zero()
        tail = torch.special.gammaincc(1 / p, (loc.abs() / scale).pow(p) / p) / 2
        linear = 0.5 + side * self.loc.double() / scale * self._standard_peak()
        return torch.where(near, linear, torch.where(side * loc > 0, 1 - tail, tail))

    def _moments(self) -> tuple[Tensor, Tensor]:
        """E[Y] and E[Y^2] in float64 (reference implementation's unified formula)."""
        p, scale = self.p.double(), self.scale.double()
        loc, near = self._off_zero()
        exponent = (loc.abs() / scale).pow(p) / p

        def absolute(k: int) -> Tensor:
            log_ratio = torch.lgamma((k + 1) / p) - torch.lgamma(1 / p)  # each overflows alone
            return torch.exp(log_ratio + k / p * p.log()) * scale.pow(k)

        def above(k: int) -> Tensor:
            # 1 + sign(loc) P(k/p, t), which is the upper function Q itself below zero
            lower = torch.special.gammainc(k / p, exponent)
            return torch.where(loc >= 0, 1 + lower, torch.special.gammaincc(k / p, exponent))

        a, c = above(1), absolute(2) * above(3)
        b = absolute(1) * torch.special.gammaincc(2 / p, exponent)
        first = (loc * a + b) / 2
        second = (loc.square() * a + 2 * loc * b + c) / 2
        tiny = self.loc.double()
        return (
            torch.where(near, (absolute(1) + tiny) / 2, first),
            torch.where(near, absolute(2) / 2 + tiny * absolute(1), second),
        )
