# SPDX-License-Identifier: MIT
"""The schedule of the target's active fraction."""

__all__ = ["scheduled_active_fraction"]

import math


def scheduled_active_fraction(target: float, *, warmup: float, progress: float) -> float:
    """Compute the active fraction that outputs are to have at a point of training.

    During the warm-up it goes from 1/2 to `target`, along a line in log-odds.

    Args:
        target: the active fraction from the end of the warm-up on, between 0 and 1, neither
            included.
        warmup: the part of training, from 0 to 1, that the warm-up takes.
        progress: the part of training that is done, from 0 to 1.

    Returns:
        A fraction between 0 and 1.

    Example:
        >>> [
        ...     round(scheduled_active_fraction(0.1, warmup=0.5, progress=progress), 3)
        ...     for progress in (0.0, 0.25, 0.5, 1.0)
        ... ]
        [0.5, 0.25, 0.1, 0.1]
    """
    if progress >= warmup:
        return target
    log_odds = progress / warmup * (math.log(target) - math.log1p(-target))
    return 1 / (1 + math.exp(-log_odds))
