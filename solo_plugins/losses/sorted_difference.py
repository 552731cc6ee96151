# SPDX-License-Identifier: MIT
"""Squared differences of sorted projections, with their gradient, walked in pieces."""

__all__ = ["joins_views", "sorted_difference"]

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any, TypeAlias

import torch
import torch.distributed as dist
from torch import Tensor

from solo_plugins import distributed
from solo_plugins.losses.buffers import Buffers
from solo_plugins.losses.ordering import match_by_rank, sort_in_place
from solo_plugins.losses.projections import Piece, Projections
from solo_plugins.losses.recorded import Recorder
from solo_plugins.losses.workers import divided_threads, in_parallel, number_of_jobs, share_of

# Projections, the same on all processes, and a function that gives samples (V or 1, N, D) of all
# processes for the views or for all.
_Draw: TypeAlias = Callable[[torch.Generator | None], tuple[Projections, Callable[[], Tensor]]]


def sorted_difference(
    views: Sequence[Tensor],
    draw: _Draw,
    chunk_size: int,
    generator: torch.Generator | None = None,
    recorder: Recorder | None = None,
    key: Hashable = None,
) -> Tensor:
    """Compute the mean squared difference of sorted projections.

    Args:
        views: outputs (N, D) of this process for each of V views.
        draw: gives projections and target samples.
        chunk_size: projections at a time.
        generator: where draws come from, for `draw`.
        recorder: what records the operations of a GPU; nothing does by default.
        key: what the operations depend on beside the shape of `views`, for `recorder`.

    Returns:
        The mean over V, K and N, a scalar, the same on all processes.
    """
    work = _Work(draw, chunk_size, len(views), generator, recorder, key)
    return _SortedDifference.apply(work, *views)


@dataclass(frozen=True)
class _Work:
    """A process's share of the value and of its gradient, without other processes."""

    draw: _Draw
    chunk_size: int
    num_views: int
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
        device, num_views, chunk_size = samples[0][0].device, self.num_views, self.chunk_size
        num_samples = len(samples[0][0])
        projections, target = self.draw(generator)
        own = share_of(range(projections.num), distributed.rank(), distributed.world_size())
        jobs = number_of_jobs(len(own) * num_views * num_samples, device)
        with divided_threads(jobs), torch.autocast(device.type, enabled=False):
            joined = joins_views(device) and projections.num_views == 1
            dtypes = (view.dtype for view in samples[0])
            dtype = reduce(torch.promote_types, dtypes, torch.float32)
            # What is drawn takes most memory while it is drawn: nothing else is there yet.
            y = _entered(target(), projections, dtype, joined)
            z = _entered(samples.pop(), projections, dtype, joined)
            if joined:  # buffers hold all views
                chunk_size = max(1, chunk_size // num_views)
            walk = _Walk(z, y, projections, num_samples, chunk_size, with_gradient)
            value, gradients = walk.over(own, jobs)
            del z, y, walk
            # The processes' numbers of projections differ by one at most: weigh each by its own.
            count = projections.num * num_views * num_samples
            value /= count
            left = []
            while gradients:  # one at a time, which takes less memory
                left.append(projections.leave(gradients.pop(0).mul_(2 / count).unsqueeze(0))[0])
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


def _entered(
    samples: Sequence[Tensor] | Tensor, projections: Projections, dtype: torch.dtype, joined: bool
) -> list[Tensor]:
    """Bring samples (N, D) of views into the form (C, N) that is projected, maybe all as one."""
    if joined and isinstance(samples, Tensor):
        samples = samples.reshape(1, -1, samples.size(2))
    return [projections.enter(view.to(dtype).unsqueeze(0))[0] for view in samples]


class _Walk:
    """Sums of squared sorted differences, and half their gradient, over views and directions.

    Args:
        z: outputs (C, N) of each view, as the projections take them, or of all as one (C, V N).
        y: target samples of each view, or for all, likewise.
        projections: the directions.
        num_samples: N.
        chunk_size: projections at a time, of all threads together.
        with_gradient: whether the gradient is computed.
    """

    def __init__(
        self,
        z: Sequence[Tensor],
        y: Sequence[Tensor],
        projections: Projections,
        num_samples: int,
        chunk_size: int,
        with_gradient: bool,
    ) -> None:
        self.z, self.y, self.projections, self.num_samples = z, y, projections, num_samples
        self.chunk_size, self.with_gradient = chunk_size, with_gradient
        self.shared = len(y) == 1 and projections.num_views == 1

    def over(self, rows: range, jobs: int) -> tuple[Tensor, list[Tensor]]:
        """Sum over some directions, shared out to the threads of a CPU.

        Args:
            rows: their numbers.
            jobs: how many shares to make of them.

        Returns:
            The sum, a scalar, and half its gradient, as `z`; nothing if there is to be none.
        """
        num_views = len(self.z)
        chunk_size = max(1, self.chunk_size // jobs)
        # A job of few views needs memory for the gradient of these alone.
        groups = num_views if jobs % num_views == 0 and not self.shared else 1
        gradients = [torch.zeros_like(view) for view in self.z] if self.with_gradient else []
        work = [
            (share_of(range(num_views), group, groups), share_of(rows, job, jobs // groups), job)
            for group in range(groups)
            for job in range(jobs // groups)
        ]
        sums = in_parallel(
            [
                partial(
                    self._sum, self.projections.pieces(share, chunk_size), views, job, gradients
                )
                for views, share, job in work
            ]
        )
        total = self.z[0].new_zeros(())
        for (views, *_), (value, own_gradients) in zip(work, sums, strict=True):
            total += value
            for view, own_gradient in zip(views, own_gradients, strict=False):
                gradients[view] += own_gradient
        return total, gradients

    def _sum(
        self, pieces: Sequence[Piece], views: range, job: int, gradients: Sequence[Tensor]
    ) -> tuple[Tensor, Sequence[Tensor]]:
        """Sum over views; the first job of each adds to the gradients, others give their own."""
        value = self.z[0].new_zeros(())
        into = gradients[views.start : views.stop]
        if job:
            into = [torch.zeros_like(gradient) for gradient in into]
        buffers = Buffers(value.device)
        for piece in pieces:
            sorted_target = None
            for place, view in enumerate(views):
                if sorted_target is None or not self.shared:
                    columns = self.y[view % len(self.y)]
                    projected = piece.project(columns, view, buffers, "target")
                    rows = buffers.view(Tensor.view, projected, -1, self.num_samples)
                    sorted_target = sort_in_place(rows, buffers)
                part = into[place] if into else None
                value += _compare(self.z[view], sorted_target, piece, view, part, buffers)
        return value, into if job else ()


def _compare(
    columns: Tensor,
    sorted_target: Tensor,
    piece: Piece,
    view: int,
    gradient: Tensor | None,
    buffers: Buffers,
) -> Tensor:
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


def _sum_of_squares(rows: Tensor, buffers: Buffers) -> Tensor:
    flat = buffers.view(torch.flatten, rows)
    return torch.dot(flat, flat)
