# SPDX-License-Identifier: MIT
"""Lightning's data parallel training, whose logging does not make processes wait."""

__all__ = ["DataParallel"]

from typing import Any

import torch.distributed as dist
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor
from typing_extensions import override

from solo_plugins.distributed import world_size


class DataParallel(DDPStrategy):
    """Averages what is logged without a barrier before each value.

    Lightning meets all processes at a barrier before it reduces a value, for every value of every
    step: the program waits for the GPU each time. The reduction itself needs none.
    """

    @override
    def reduce(self, tensor: Any, group: Any = None, reduce_op: Any = "mean") -> Any:
        simple = isinstance(tensor, Tensor) and tensor.is_floating_point()
        if not simple or group is not None or reduce_op not in ("mean", "sum"):
            return super().reduce(tensor, group, reduce_op)
        dist.all_reduce(tensor)
        return tensor.div_(world_size()) if reduce_op == "mean" else tensor
