# SPDX-License-Identifier: MIT
"""The generalized Gaussian distribution."""

__all__ = ["GeneralizedGaussian"]

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Size, Tensor
from torch.distributions import Distribution, constraints
from torch.distributions.utils import broadcast_all
from typing_extensions import override

from solo_plugins.inputs import check_real

_Number = float | Tensor
# Numbers that a CPU draws at a time: what lies between stays in its cache.
_PART = 2**15


class GeneralizedGaussian(Distribution):
    r"""The generalized Gaussian :math:`GN_p(\mu, \sigma)`, also called exponential power.

    .. math:: f(x) = \frac{p^{1 - 1/p}}{2 \sigma \Gamma(1/p)}
        \exp\left(-\frac{|x - \mu|^p}{p \sigma^p}\right)

    p = 1 is the Laplace distribution of scale sigma, p = 2 the normal one of standard deviation
    sigma.

    Args:
        loc: :math:`\mu`, any real number.
        scale: :math:`\sigma`, positive, in the unit of x; not the standard deviation unless p = 2.
        p: the exponent, positive.
        validate_args: as for every torch distribution.

    Example:
        >>> laplace = GeneralizedGaussian(0.0, 1.0, 1.0)
        >>> laplace.variance, laplace.cdf(torch.tensor(0.0))
        (tensor(2.), tensor(0.5000))

    References:
        Rectified LpJEPA, https://arxiv.org/abs/2602.01456, section 3.
    """

    arg_constraints = {  # noqa: RUF012  # the name and form that torch expects
        "loc": constraints.real,
        "scale": constraints.positive,
        "p": constraints.positive,
    }
    support: Any = constraints.real
    has_rsample = True

    def __init__(
        self, loc: _Number, scale: _Number, p: _Number, validate_args: bool | None = None
    ) -> None:
        parameters = broadcast_all(loc, scale, p)
        for name, parameter in zip(("loc", "scale", "p"), parameters, strict=True):
            check_real(name, parameter)
        # whole numbers would cut off what is computed from them
        self.loc, self.scale, self.p = (
            parameter if parameter.is_floating_point() else parameter.to(torch.get_default_dtype())
            for parameter in parameters
        )
        super().__init__(self.loc.size(), validate_args=validate_args)

    @override
    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> "GeneralizedGaussian":
        new: Any = self._get_checked_instance(GeneralizedGaussian, _instance)
        batch_shape = torch.Size(batch_shape)
        new.loc, new.scale, new.p = (
            parameter.expand(batch_shape) for parameter in (self.loc, self.scale, self.p)
        )
        Distribution.__init__(new, batch_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    @property
    def mean(self) -> Tensor:
        """The mean, which is `loc`."""
        return self.loc

    @property
    def mode(self) -> Tensor:
        """The mode, which is `loc`."""
        return self.loc

    @property
    def variance(self) -> Tensor:
        r"""The variance :math:`\sigma^2 p^{2/p} \Gamma(3/p) / \Gamma(1/p)`."""
        p = self.p.double()
        log_ratio = torch.lgamma(3 / p) - torch.lgamma(1 / p) + 2 / p * p.log()
        return (self.scale.double().square() * log_ratio.exp()).to(self.loc.dtype)

    @property
    def can_be_recorded(self) -> bool:
        """Whether the parameters are constants of the program, which a GPU need not be asked for.

        :class:`~solo_plugins.RDMReg` then may record what a draw starts on a GPU.
        """
        return all(
            parameter.ndim == 0 and parameter.device.type == "cpu" and not parameter.requires_grad
            for parameter in (self.loc, self.scale, self.p)
        )

    @property
    def active_probability(self) -> Tensor:
        """P(X != 0), which is 1: the density has no atom."""
        return torch.ones_like(self.loc)

    def rsample(
        self,
        sample_shape: Any = (),
        *,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        r"""Draw :math:`\mu + \sigma (p G)^{1/p} U`, G ~ Gamma(1/p + 1, 1), U uniform on (-1, 1).

        Gamma(1/p, 1) is :math:`G V^p` with V uniform on (0, 1), whose power of a large p is zero in
        float32: at p = 50 that is one draw in six.

        Drawn in float32 or better, whatever the parameters and autocast are: in half precision the
        draws lose their tail and, far below zero, most of the rectified variance.

        Args:
            sample_shape: the shape in front of the batch shape.
            generator: where the randomness comes from.
            device: where to draw; the generator's device, else that of `loc`, by default.

        Returns:
            Samples of shape ``sample_shape + batch_shape``, differentiable in `loc` and `scale`.
        """
        if device is None:
            device = self.loc.device if generator is None else generator.device
        shape = self._extended_shape(torch.Size(sample_shape))
        dtype = torch.promote_types(self.loc.dtype, torch.float32)
        noise = _standard(self.p, shape, dtype, torch.device(device), generator)
        return noise.mul_(self.scale.to(dtype)).add_(self.loc.to(dtype))

    def sample(
        self,
        sample_shape: Any = (),
        *,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """Draw without a gradient; the arguments are those of :meth:`rsample`."""
        with torch.no_grad():
            return self.rsample(sample_shape, generator=generator, device=device)

    def log_prob(self, value: Tensor) -> Tensor:
        """Compute the logarithm of the density against Lebesgue measure.

        Args:
            value: where, broadcastable with the batch shape.

        Returns:
            The log-density at `value`.
        """
        if self._validate_args:
            self._validate_sample(value)
        p = self.p
        distance = ((value - self.loc) / self.scale).abs()
        log_norm = math.log(2) + self.scale.log() + torch.lgamma(1 / p) - (1 - 1 / p) * p.log()
        return -distance.pow(p) / p - log_norm

    @override
    def cdf(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return self._below(value, 1.0).to(torch.result_type(value, self.loc))

    def icdf(self, value: Tensor) -> Tensor:
        """Compute the quantile of a probability.

        Args:
            value: probabilities in [0, 1], broadcastable with the batch shape.

        Returns:
            The quantile, differentiable in `loc` and `scale` but not in `value`.
        """
        probability = torch.as_tensor(value).detach().double()
        tail = 2 * torch.minimum(probability, 1 - probability)
        p = self.p.detach().double()
        standard = (p * _inverse_gammaincc(1 / p, tail)).pow(1 / p)
        standard = standard * torch.sign(probability - 0.5)
        return self.loc + self.scale * standard.to(self.loc.dtype)

    @override
    def entropy(self) -> Tensor:
        p = self.p
        return 1 / p + math.log(2) + self.scale.log() + torch.lgamma(1 / p) - (1 - 1 / p) * p.log()

    def _below(self, value: Tensor, side: float) -> Tensor:
        """P(X <= value), or P(X > value) with side -1, in float64 and exact in both tails."""
        p = self.p.double()
        distance = side * (torch.as_tensor(value).double() - self.loc.double())
        exponent = (distance.abs() / self.scale.double()).pow(p) / p
        tail = torch.special.gammaincc((1 / p).expand_as(exponent), exponent) / 2
        return torch.where(distance > 0, 1 - tail, tail)


def _standard(
    p: Tensor,
    shape: Size,
    dtype: torch.dtype,
    device: torch.device,
    generator: torch.Generator | None,
) -> Tensor:
    """Draw from GN_p(0, 1)."""
    constant = float(p.detach()) if p.ndim == 0 and not p.requires_grad else None
    if constant == 2:
        return torch.empty(shape, dtype=dtype, device=device).normal_(generator=generator)
    if constant == 1:
        return _standard_laplace(shape, dtype, device, generator)
    if constant is None:
        exponent = p.to(device=device, dtype=dtype)
        concentration = (1 + 1 / exponent).expand(shape).contiguous()
    else:  # a number where the program is: a copy of it to a GPU would be waited for
        exponent = p.to(device="cpu", dtype=dtype)
        concentration = torch.full(shape, float(1 + 1 / exponent), dtype=dtype, device=device)
    gamma = torch._standard_gamma(concentration, generator=generator)
    size = (exponent * gamma).pow(1 / exponent)
    return size * torch.empty_like(size).uniform_(-1, 1, generator=generator)


def _standard_laplace(
    shape: Size, dtype: torch.dtype, device: torch.device, generator: torch.Generator | None
) -> Tensor:
    """Draw from GN_1(0, 1) by its quantile function: half the time of an exponential and a sign.

    In float64 up to the tail's probability: 53 random bits reach 36 scales, 24 bits only 16.
    """
    drawn = torch.empty(shape, dtype=dtype, device=device)
    flat = drawn.view(-1)
    size = _PART if flat.device.type == "cpu" else max(1, flat.numel())
    uniform = torch.empty(min(size, flat.numel()), dtype=torch.float64, device=device)
    signed = torch.empty_like(uniform, dtype=dtype)
    for part in flat.split(size):
        number = part.numel()
        noise, sign = uniform[:number].uniform_(generator=generator), signed[:number]
        noise -= 0.5
        sign.copy_(noise)
        tail = part.copy_(noise.abs_().mul_(-2).add_(1))  # P(|X| > |x|)
        tail.clamp_min_(2.0**-54).log_().copysign_(sign)  # the size is that of the log
    return drawn


def _inverse_gammaincc(a: Tensor, tail: Tensor) -> Tensor:
    """Solve Q(a, t) = tail for t in float64, by bisection on log t between 1e-300 and 1e5."""
    a, tail = torch.broadcast_tensors(a, tail)
    low = torch.full_like(tail, math.log(1e-300))
    high = torch.full_like(tail, math.log(1e5))
    body = 1 - tail
    for _ in range(64):  # to the last bit of a range of 700
        middle = (low + high) / 2
        t = middle.exp()
        # whichever of P and Q is small is compared: the other has lost its digits
        too_low = torch.where(
            tail < 0.5, torch.special.gammaincc(a, t) > tail, torch.special.gammainc(a, t) < body
        )
        low, high = torch.where(too_low, middle, low), torch.where(too_low, high, middle)
    t = high.exp()
    t = torch.where(tail <= 0, torch.full_like(t, math.inf), t)
    return torch.where(tail >= 1, torch.zeros_like(t), t)
