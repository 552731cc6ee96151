# SPDX-License-Identifier: MIT
"""Squared differences of sorted projections, with their gradient, walked in pieces."""

__all__ = ["joins_views", "sorted_difference"]

import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any, TypeAlias

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from solo_plugins import distributed
from solo_plugins.losses.buffers import Buffers
from solo_plugins.losses.ordering import match_by_rank, sort_in_place
from solo_plugins.losses.projections import Piece, Projections
from solo_plugins.losses.recorded import Recorder
from solo_plugins.losses.workers import divided_threads, in_parallel, number_of_jobs, share_of

# Samples of all processes for some of the views, (some, N, D), or (1, N, D) for all.
Target: TypeAlias = Callable[[range], Tensor]
# Gives projections, the same on all processes, and target samples.
_Draw: TypeAlias = Callable[[torch.Generator | None], tuple[Projections, Target]]
# A share of the work: the numbers of views, their sum, and half the gradient of each or of all.
_Share: TypeAlias = tuple[range, float | Tensor, list[Tensor]]


def sorted_difference(
    views: Sequence[Tensor],
    draw: _Draw,
    chunk_size: int,
    *,
    shares_target: bool,
    generator: torch.Generator | None = None,
    recorder: Recorder | None = None,
    key: Hashable = None,
) -> Tensor:
    """Compute the mean squared difference of sorted projections.

    Args:
        views: outputs (N, D) of this process for each of V views.
        draw: gives projections and target samples.
        chunk_size: projections at a time.
        shares_target: whether all views have the same target samples.
        generator: where draws come from, for `draw`.
        recorder: what records the operations of a GPU; nothing does by default.
        key: what the operations depend on beside the shape of `views`, for `recorder`.

    Returns:
        The mean over V, K and N, a scalar, the same on all processes.
    """
    work = _Work(draw, chunk_size, len(views), shares_target, generator, recorder, key)
    return _SortedDifference.apply(work, *views)


@dataclass(frozen=True)
class _Work:
    """A process's share of the value and of its gradient, without other processes."""

    draw: _Draw
    chunk_size: int
    num_views: int
    shares_target: bool
    generator: torch.Generator | None
    recorder: Recorder | None
    key: Hashable

    def __call__(
        self, samples: list[Sequence[Tensor] | Tensor], with_gradient: bool
    ) -> Sequence[Tensor]:
        """Give the sum that this process has of the value, and its gradient of each view or of all.

        Args:
            samples: outputs (N, D) of all processes for each view, alone in a list, which will be
                empty: they are memory.
            with_gradient: whether a gradient is wanted.
        """
        compute = partial(self._compute, with_gradient=with_gradient)
        whole = samples[0]
        if self.recorder is None or not isinstance(whole, Tensor):
            return compute(samples, self.generator)
        place = (distributed.rank(), distributed.world_size(), with_gradient)
        key = (self.key, self.chunk_size, *place)
        return self.recorder(
            lambda whole, generator: compute([whole], generator), whole, self.generator, key
        )

    def _compute(
        self,
        samples: list[Sequence[Tensor] | Tensor],
        generator: torch.Generator | None,
        *,
        with_gradient: bool,
    ) -> list[Tensor]:
        device, num_samples = samples[0][0].device, len(samples[0][0])
        projections, target = self.draw(generator)
        own = share_of(range(projections.num), distributed.rank(), distributed.world_size())
        jobs = number_of_jobs(len(own) * self.num_views * num_samples, device)
        with divided_threads(jobs), torch.autocast(device.type, enabled=False):
            walk = _Walk(
                samples.pop(),
                target,
                projections,
                shares_target=self.shares_target,
                num_views=self.num_views,
                chunk_size=self.chunk_size,
                with_gradient=with_gradient,
            )
            memory = [Buffers(device) for _ in range(jobs)]
            value, gradients = walk.over(own, memory)
            del memory[1:]  # that of the other threads
            # The processes' numbers of projections differ by one at most: weigh each by its own.
            count = projections.num * self.num_views * num_samples
            value /= count
            left = []
            while gradients:  # one at a time, which takes less memory
                gradient = gradients.pop(0).mul_(2 / count)
                gradient = projections.leave(gradient, memory[0])
                # What comes next in the program is many times slower with what is transposed.
                left.append(gradient.clone(memory_format=torch.contiguous_format))
        return [value, *left]


class _SortedDifference(torch.autograd.Function):
    """Value and closed-form gradient in one walk over the projections."""

    @staticmethod
    def forward(ctx: Any, work: _Work, *views: Tensor) -> Tensor:
        rank, world_size = distributed.rank(), distributed.world_size()
        samples = _of_all_processes(views, joins_views(views[0].device))
        value, *left = work([samples], any(ctx.needs_input_grad))
        if world_size > 1:
            dist.all_reduce(value)
        ctx.save_for_backward(*left)
        ctx.place = (rank, world_size, [view.dtype for view in views])
        return value

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        with torch.no_grad():
            gradients = _SortedDifference._gradients(ctx, grad_outputs[0])
        if torch.is_grad_enabled():  # as with `create_graph=True`
            gradients = [_NoSecond.apply(part.requires_grad_()) for part in gradients]
        return (None, *gradients)

    @staticmethod
    def _gradients(ctx: Any, scale: Tensor) -> list[Tensor]:
        rank, world_size, dtypes = ctx.place
        gradients: Sequence[Tensor] = ctx.saved_tensors
        if len(gradients) < len(dtypes):  # joined
            gradients = gradients[0].chunk(len(dtypes))
        if world_size > 1:
            # Each process has the gradient of its own projections only. The sum is the gradient of
            # the whole loss; times W, since DDP divides by it.
            total = torch.stack([gradient * world_size for gradient in gradients])
            dist.all_reduce(total)
            own = total.size(1) // world_size
            gradients = list(total[:, rank * own : (rank + 1) * own])
        return [(part * scale).to(dtype) for part, dtype in zip(gradients, dtypes, strict=True)]


class _NoSecond(torch.autograd.Function):
    """A gradient that was kept as a number: it has no graph of its own to be differentiated.

    torch's `once_differentiable` tells only if the derivative before it requires a gradient itself,
    which that of a penalty does not.
    """

    @staticmethod
    def forward(_: Any, gradient: Tensor) -> Tensor:
        return gradient.clone()

    @staticmethod
    def backward(_: Any, *__: Tensor) -> Tensor:
        raise RuntimeError(
            "Expected the sliced Wasserstein distance to be differentiated once but got a second "
            "derivative: its gradient is computed in closed form and has no graph."
        )


def joins_views(device: torch.device) -> bool:
    """Whether all views are projected and sorted by the same operations.

    A GPU waits for the program that starts its operations: few large ones suit it. A CPU is faster
    with operations on memory that fits into its cache.
    """
    return device.type != "cpu"


def _of_all_processes(views: Sequence[Tensor], joined: bool) -> Sequence[Tensor] | Tensor:
    if distributed.world_size() == 1 and not joined:
        return views  # a copy of all would be memory for nothing
    return distributed.gather(torch.stack(list(views)))


class _Walk:
    """Sums of squared sorted differences, and half their gradient, over views and directions.

    Args:
        samples: outputs (N, D) of all processes for each view.
        target: gives target samples.
        projections: the directions.
        shares_target: whether all views have the same target samples.
        num_views: V.
        chunk_size: projections at a time, of all threads together.
        with_gradient: whether the gradient is computed.

    """

    def __init__(
        self,
        samples: Sequence[Tensor] | Tensor,
        target: Target,
        projections: Projections,
        *,
        shares_target: bool,
        num_views: int,
        chunk_size: int,
        with_gradient: bool,
    ) -> None:
        self.samples, self.target, self.projections = samples, target, projections
        self.shares_target, self.with_gradient = shares_target, with_gradient
        self.num_samples, self.device = len(samples[0]), samples[0].device
        self.dtype = reduce(torch.promote_types, (view.dtype for view in samples), torch.float32)
        views, same_directions = range(num_views), projections.num_views == 1
        self.joined = joins_views(self.device) and same_directions
        self.chunk_size = max(1, chunk_size // num_views) if self.joined else chunk_size
        # Views that are compared with what the target becomes once for each piece.
        together = self.joined or (shares_target and same_directions)
        self.groups = [views] if together else [range(view, view + 1) for view in views]
        self._shared_target: Tensor | None = None

    def over(self, rows: range, memory: Sequence[Buffers]) -> tuple[Tensor, list[Tensor]]:
        """Sum over some directions, shared out to the threads of a CPU.

        Args:
            rows: their numbers.
            memory: the buffers of each thread.

        Returns:
            The sum, a scalar, and half its gradient (C, N) for each view, or as one (C, V N);
            nothing if there is to be none.
        """
        total = torch.zeros((), dtype=self.dtype, device=self.device)
        gradients: dict[int, Tensor] = {}
        for views, value, parts in in_parallel(self._jobs(rows, memory), len(memory)):
            total += value
            for view, part in zip(views, parts, strict=False):
                gradients[view] = gradients[view].add_(part) if view in gradients else part
        return total, [gradients[view] for view in sorted(gradients)]

    def _jobs(self, rows: range, memory: Sequence[Buffers]) -> Iterator[Callable[[], _Share]]:
        """Draw, and bring into the form that is projected, when the share is asked for."""
        jobs, number = len(memory), 0
        shares = jobs // math.gcd(jobs, len(self.groups))
        chunk_size = max(1, self.chunk_size // jobs)
        for views in self.groups:
            # What is drawn takes most memory while it is drawn.
            y = self._target_of(views, memory[0])
            z = self._entered(self.samples[views.start : views.stop], memory[0])
            for share in range(shares):
                pieces = self.projections.pieces(share_of(rows, share, shares), chunk_size)
                yield partial(self._sum, pieces, views, y, z, memory[number % jobs])
                number += 1
            del y, z

    def _target_of(self, views: range, buffers: Buffers) -> Tensor:
        if not self.shares_target:
            return self._entered(self.target(views), buffers)[0]
        if self._shared_target is None:
            (self._shared_target,) = self._entered(self.target(views), buffers)
        return self._shared_target

    def _entered(self, samples: Sequence[Tensor] | Tensor, buffers: Buffers) -> list[Tensor]:
        """Bring samples (N, D) of views into the form (C, N) that is projected, maybe as one."""
        if self.joined and isinstance(samples, Tensor):
            samples = samples.reshape(1, -1, samples.size(2))
        return [self.projections.enter(view.to(self.dtype), buffers) for view in samples]

    def _sum(
        self,
        pieces: Sequence[Piece],
        views: range,
        y: Tensor,
        z: Sequence[Tensor],
        buffers: Buffers,
    ) -> _Share:
        value: float | Tensor = 0.0
        gradients = [torch.zeros_like(view) for view in z] if self.with_gradient else []
        buffers.forget()
        for piece in pieces:
            projected = piece.project(y, views.start, buffers, "target")
            rows = buffers.view(Tensor.view, projected, -1, self.num_samples)
            sorted_target = sort_in_place(rows, buffers)
            for place, columns in enumerate(z):
                view, part = views.start + place, gradients[place] if gradients else None
                value += _compare(columns, sorted_target, piece, view, part, buffers)
        return views, value, gradients


def _compare(
    columns: Tensor,
    sorted_target: Tensor,
    piece: Piece,
    view: int,
    gradient: Tensor | None,
    buffers: Buffers,
) -> float | Tensor:
    """Compute one term of the sum."""
    projected = piece.project(columns, view, buffers, "outputs")
    rows = buffers.view(Tensor.view, projected, -1, sorted_target.size(1))
    if rows.size(0) > sorted_target.size(0):  # one target for views that are joined
        sorted_target = sorted_target.repeat_interleave(
            rows.size(0) // sorted_target.size(0), dim=0
        )
    if gradient is None:
        return _sum_of_squares(sort_in_place(rows, buffers).sub_(sorted_target), buffers)
    value = _sum_of_squares(rows.sub_(match_by_rank(rows, sorted_target, buffers)), buffers)
    piece.back(projected, gradient, view, buffers)
    return value


def _sum_of_squares(rows: Tensor, buffers: Buffers) -> float | Tensor:
    flat = buffers.view(torch.flatten, rows)
    if flat.device.type != "cpu":
        return torch.dot(flat, flat)
    array = buffers.view(Tensor.numpy, flat)
    return float(np.dot(array, array))
