# SPDX-License-Identifier: MIT
"""A controller that moves the target until outputs have the share that was asked for."""

__all__ = ["SparsityController"]

import math

import torch
from torch import Tensor, nn

# Of the running share, per step: a batch's share is nearly exact, but moves while training does.
_MOMENTUM = 0.1
# In log-odds: the target's share stays within a factor of 20 of the one asked for.
_BOUND = 3.0


class SparsityController(nn.Module):
    r"""Says which share of active outputs the target is to have at a step.

    All is done in log-odds :math:`\ell`. During the warm-up the wanted share goes from 1/2 to the
    one asked for. An offset o integrates what the network misses,

    .. math:: o \leftarrow \mathrm{clip}(o + r (\ell_{wanted} - \ell_{measured}), -3, 3),

    with the measured share averaged over some 10 steps, and the target aims at
    :math:`\ell_{wanted} + o`. State is kept in buffers, and so in checkpoints.

    Args:
        active_fraction: the share asked for, between 0 and 1, neither included.
        warmup: the part of training, from 0 to 1, that the wanted share takes to get there.
        rate: r, in log-odds per step and log-odds of error; 0 leaves the offset alone.

    Example:
        >>> controller = SparsityController(0.1, warmup=0.5, rate=0.1)
        >>> [round(controller.wanted(progress), 3) for progress in (0.0, 0.25, 0.5, 1.0)]
        [0.5, 0.25, 0.1, 0.1]
        >>> controller.update(torch.tensor(0.2), progress=1.0)  # denser than wanted
        >>> controller.aim(1.0) < 0.1
        True
    """

    share: Tensor
    offset: Tensor

    def __init__(self, active_fraction: float, *, warmup: float = 0.0, rate: float = 0.0) -> None:
        super().__init__()
        self.active_fraction, self.warmup, self.rate = active_fraction, warmup, rate
        self.register_buffer("share", torch.tensor(math.nan))
        self.register_buffer("offset", torch.tensor(0.0))

    def extra_repr(self) -> str:
        """Describe the settings in one line."""
        return f"{self.active_fraction}, warmup={self.warmup}, rate={self.rate}"

    def wanted(self, progress: float) -> float:
        """Compute the share that the network is to have.

        Args:
            progress: the part of training that is done, from 0 to 1.

        Returns:
            A share between 0 and 1.
        """
        if progress >= self.warmup:
            return self.active_fraction
        return _share(progress / self.warmup * _log_odds(self.active_fraction))

    def aim(self, progress: float) -> float:
        """Compute the share that the target is to have.

        Args:
            progress: the part of training that is done, from 0 to 1.

        Returns:
            A share between 0 and 1: the wanted one, moved by what the network misses it by.
        """
        wanted = self.wanted(progress)
        # Without a controller there is nothing to wait for on a GPU.
        return _share(_log_odds(wanted) + float(self.offset)) if self.rate else wanted

    @torch.no_grad()
    def update(self, share: Tensor, progress: float) -> None:
        """Take a step's share into account.

        Args:
            share: the share of active outputs of all processes, a scalar.
            progress: the part of training that is done, from 0 to 1.
        """
        share = share.to(self.share)
        first = self.share.isnan()
        self.share.copy_(torch.where(first, share, self.share.lerp(share, _MOMENTUM)))
        error = _log_odds(self.wanted(progress)) - torch.logit(self.share, eps=1e-4)
        self.offset.add_(self.rate * error).clamp_(-_BOUND, _BOUND)


def _log_odds(share: float) -> float:
    return math.log(share) - math.log1p(-share)


def _share(log_odds: float) -> float:
    return 1 / (1 + math.exp(-log_odds))
