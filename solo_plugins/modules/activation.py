# SPDX-License-Identifier: MIT
"""The projector's last step: a ReLU, plain, with another gradient, or above thresholds."""

__all__ = ["RepReLU", "ThresholdedReLU", "rep_relu"]

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from solo_plugins.distributed import mean_over_processes
from solo_plugins.inputs import check_real, check_samples

# What the batch's spread adds to the running one, as BatchNorm's statistics in torch.
_MOMENTUM = 0.1


def rep_relu(x: Tensor) -> Tensor:
    r"""Apply ReLU with GELU's gradient: an output that is zero can still learn.

    Args:
        x: any shape.

    Returns:
        max(x, 0); its gradient is that of GELU, :math:`\Phi(x) + x \phi(x)`.

    Example:
        >>> x = torch.tensor([-0.5, 0.5], requires_grad=True)
        >>> y = rep_relu(x)
        >>> y.sum().backward()
        >>> y.tolist(), x.grad
        ([0.0, 0.5], tensor([0.1325, 0.8675]))
    """
    check_real("x", x)
    return _RepReLU.apply(x)


class RepReLU(nn.Module):
    """:func:`rep_relu` as a module."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply it to `x` of any shape."""
        return rep_relu(x)


class ThresholdedReLU(nn.Module):
    r"""ReLU above a threshold of each output, which a controller moves.

    .. math:: z_d = \mathrm{ReLU}(a_d - \tau_d)

    The thresholds are buffers, not parameters. :meth:`adjust` moves each of them by
    :math:`r s_d \, \mathrm{clip}((q_d - q) / \min(q, 1 - q), -1, 1)`, where :math:`q_d` is the
    active fraction of the output, q the target active fraction, :math:`s_d` the output's standard
    deviation and r the rate. This is an integral controller, which comes to rest at the output's
    1 - q quantile. With `standardize` each sample's outputs have mean 0 and variance 1 before, so
    that samples differ less in how many are active. With `floor` a sample of which no more outputs
    than that are above their thresholds gets all thresholds lowered, by one amount, to where the
    next output would become active: a continuous function, as ReLU is.

    Args:
        num_outputs: D, positive.
        standardize: standardize each sample over its outputs first.
        floor: the least number of active outputs of a sample, from 0 to D - 1.
        activation: what follows the subtraction; a ReLU by default.

    Raises:
        ValueError: if `num_outputs` is not positive, or `floor` is not below it.

    Example:
        >>> relu = ThresholdedReLU(2)
        >>> _ = relu.threshold.copy_(torch.tensor([1.0, -1.0]))
        >>> relu(torch.tensor([[1.5, 0.0]]))
        tensor([[0.5000, 1.0000]])
    """

    threshold: Tensor
    spread: Tensor

    def __init__(
        self,
        num_outputs: int,
        *,
        standardize: bool = False,
        floor: int = 0,
        activation: nn.Module | None = None,
    ) -> None:
        super().__init__()
        if num_outputs < 1:
            raise ValueError(f"Expected `num_outputs` to be positive but got {num_outputs}.")
        if not 0 <= floor < num_outputs:
            raise ValueError(
                f"Expected `floor` to be from 0 to {num_outputs - 1}, below the number of outputs, "
                f"but got {floor}."
            )
        self.standardize, self.floor = standardize, floor
        self.activation = nn.ReLU() if activation is None else activation
        self.register_buffer("threshold", torch.zeros(num_outputs))
        self.register_buffer("spread", torch.ones(num_outputs))

    def extra_repr(self) -> str:
        """Describe the settings in one line."""
        return f"{len(self.threshold)}, standardize={self.standardize}, floor={self.floor}"

    def forward(self, a: Tensor) -> Tensor:
        """Subtract the thresholds and rectify.

        Args:
            a: outputs before rectification (N, D).

        Returns:
            Non-negative outputs (N, D), in float32 or better.

        Raises:
            ValueError: if `a` is of another shape.
            TypeError: if it is complex.
        """
        check_samples("a", a, dim=len(self.threshold), empty=True)
        a = a.to(torch.promote_types(a.dtype, torch.float32))
        if self.standardize:
            a = F.layer_norm(a, a.shape[-1:])
        if self.training and len(a) > 1:
            spread = a.detach().std(dim=0)
            self.spread.lerp_(spread.to(self.spread.dtype), _MOMENTUM)
        above = a - self.threshold
        if self.floor:
            first_below = above.topk(self.floor + 1, dim=-1).values[..., -1:]
            above = above - first_below.clamp(max=0)
        return self.activation(above)

    @torch.no_grad()
    def adjust(self, z: Tensor, target: float, rate: float) -> None:
        """Move the thresholds towards the target active fraction, by the outputs of all processes.

        Args:
            z: outputs (N, D) that the present thresholds led to.
            target: the target active fraction of each output, between 0 and 1.
            rate: the largest step, in standard deviations of an output; positive.

        Raises:
            ValueError: if `z` is empty or of another shape, or a number is out of range.
        """
        check_samples("z", z, dim=len(self.threshold))
        if not 0 < target < 1:
            raise ValueError(f"Expected `target` to be between 0 and 1 but got {target}.")
        if not 0 < rate < math.inf:
            raise ValueError(f"Expected `rate` to be positive and finite but got {rate}.")
        both = torch.stack([(z > 0).to(self.threshold.dtype).mean(dim=0), self.spread])
        fraction, spread = mean_over_processes(both)
        error = (fraction - target) / min(target, 1 - target)
        self.threshold.add_(rate * spread * error.clamp(-1, 1))


class _RepReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.relu()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        below = torch.special.ndtr(x)
        density = torch.exp(-x.square() / 2) / math.sqrt(2 * math.pi)
        return grad_outputs[0] * (below + x * density)
