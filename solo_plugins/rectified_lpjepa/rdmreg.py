# SPDX-License-Identifier: MIT
"""RDMReg: a sliced two-sample Wasserstein distance between outputs and a target distribution."""

__all__ = ["RDMReg", "sliced_wasserstein"]

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.distributions import Distribution

# Elements of a buffer of projections x batch. Each operation on one is a barrier for the threads of
# torch, so more is faster; 2**18 keeps benchmarks/rdmreg.py below a quarter of the plain formula's
# memory, which 2**19 does not always.
_CPU_ELEMENTS = 2**18
_GPU_ELEMENTS = 2**24

_Directions = Callable[..., Tensor]


def sliced_wasserstein(
    features: Tensor | Sequence[Tensor],
    target: Tensor,
    projections: Tensor,
    *,
    chunk_size: int | None = None,
) -> Tensor:
    r"""Compute the squared sliced 2-Wasserstein distance of each view to a target sample.

    .. math:: \frac{1}{V K N} \sum_{v, k}
        \lVert \mathrm{sort}(Z_v c_k) - \mathrm{sort}(Y_v c_k) \rVert^2

    Averaged over V views, K projections and N samples. Computed in float32, or in float64 for such
    features, outside autocast. The gradient is known in closed form: each sorted difference goes
    back to its sample, times the direction. It is computed with the value while the projections are
    walked in chunks, so that no (K, N) tensor is kept.

    With `torch.distributed` initialised, the features of all W processes are one batch: every
    process computes its own share of the projections, the value is the same on all, and gradients
    that are averaged over processes, as DDP does, are those of one process with the whole batch.

    Args:
        features: outputs (N, D) or (V, N, D), or a sequence of (N, D); the only argument that gets
            a gradient, in its own dtype.
        target: samples (N, D) for all views or (V, N, D); with W processes W * N samples, the same
            on all processes.
        projections: unit directions (K, D) for all views or (V, K, D), the same on all processes.
        chunk_size: projections at a time; by default as many as make 1 MiB (CPU) or 64 MiB (GPU).

    Returns:
        A scalar.

    Raises:
        ValueError: if shapes do not match, there are fewer than 2 samples, `target` or
            `projections` require a gradient, or `chunk_size` is not positive.

    Example:
        >>> z = torch.tensor([[0.0], [2.0]], requires_grad=True)
        >>> loss = sliced_wasserstein(z, torch.tensor([[1.0], [0.0]]), torch.ones(1, 1))
        >>> loss.backward()
        >>> loss.item(), z.grad.flatten()
        (0.5, tensor([0., 1.]))

    References:
        Rectified LpJEPA, https://arxiv.org/abs/2602.01456, equation 13.
    """
    views, world_size = _stacked(features), _world_size()
    _check(views, target, projections, world_size)
    _check_chunk_size(chunk_size)
    if chunk_size is None:
        elements = _CPU_ELEMENTS if views.device.type == "cpu" else _GPU_ELEMENTS
        chunk_size = max(1, elements // (views.size(1) * world_size))
    return _SlicedWasserstein.apply(views, target, projections, chunk_size)


class RDMReg(nn.Module):
    """The regulariser: draws directions and target samples and compares.

    Args:
        target: the distribution of one output, with an empty batch shape.
        directions: a function of the views' outputs that gives unit directions, e.g.
            :class:`~solo_plugins.rectified_lpjepa.directions.RandomDirections`.
        share_target: draw one target sample for all views; by default one for each, as the
            reference implementation does.
        chunk_size: as for :func:`sliced_wasserstein`.

    Example:
        >>> from solo_plugins.rectified_lpjepa.directions import RandomDirections
        >>> from solo_plugins.rectified_lpjepa.distribution import RectifiedGeneralizedGaussian
        >>> rdm_reg = RDMReg(RectifiedGeneralizedGaussian(0.0, 0.7071, 1.0), RandomDirections(256))
        >>> first, second = torch.rand(64, 32), torch.rand(64, 32)
        >>> rdm_reg([first, second]).shape
        torch.Size([])
    """

    def __init__(
        self,
        target: Distribution,
        directions: _Directions,
        *,
        share_target: bool = False,
        chunk_size: int | None = None,
    ) -> None:
        super().__init__()
        _check_chunk_size(chunk_size)
        self.target = target
        self.directions = directions
        self.share_target = share_target
        self.chunk_size = chunk_size

    def extra_repr(self) -> str:
        """Describe the settings in one line."""
        return f"{self.target}, {self.directions}, share_target={self.share_target}"

    def forward(
        self,
        features: Tensor | Sequence[Tensor],
        *,
        target: Tensor | None = None,
        projections: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Compute the mean over views of their distance to the target.

        Args:
            features: outputs (N, D) or (V, N, D), or a sequence of (N, D).
            target: samples to use in place of a draw; see :func:`sliced_wasserstein`.
            projections: directions to use in place of a draw; see :func:`sliced_wasserstein`.
            generator: where the draws come from, on the features' device. With several processes
                all must pass one in the same state; without it they need equal global generators.

        Returns:
            A scalar.
        """
        views = _stacked(features)
        if projections is None:
            projections = self.directions(list(_gathered(views.detach())), generator=generator)
        if target is None:
            num_views = () if self.share_target else (views.size(0),)
            shape = (*num_views, views.size(1) * _world_size(), views.size(2))
            target = self.target.sample(  # type: ignore[call-arg]
                shape, generator=generator, device=views.device
            )
        return sliced_wasserstein(views, target, projections, chunk_size=self.chunk_size)


class _SlicedWasserstein(torch.autograd.Function):
    """Value and closed-form gradient in one walk over the projections."""

    @staticmethod
    def forward(
        ctx: Any, features: Tensor, target: Tensor, projections: Tensor, chunk_size: int
    ) -> Tensor:
        rank, world_size = _rank(), _world_size()
        dtype = torch.promote_types(features.dtype, torch.float32)
        with torch.autocast(features.device.type, enabled=False):
            z = _gathered(features).to(dtype)
            y = target.detach().to(dtype)
            y = y if y.ndim == 3 else y.unsqueeze(0)
            c = projections.detach().to(dtype)
            c = (c if c.ndim == 3 else c.unsqueeze(0))[:, rank::world_size]
            wants_gradient = ctx.needs_input_grad[0]
            value, gradient = _walk(z, y, c, chunk_size, with_gradient=wants_gradient)
            # Shares differ by one projection at most: weigh each by its size.
            num_projections = projections.size(-2)
            value /= num_projections * z.size(0) * z.size(1)
            if world_size > 1:
                dist.all_reduce(value)
        if gradient is not None:
            gradient *= 2 / (num_projections * z.size(0) * z.size(1))
            ctx.save_for_backward(gradient)
        ctx.place = (rank, world_size, features.dtype)
        return value

    @staticmethod
    @once_differentiable  # the gradient is kept as a number: it has no graph of its own
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient,) = ctx.saved_tensors
        rank, world_size, dtype = ctx.place
        if world_size > 1:
            # Each process has the gradient of its own projections only. The sum is the gradient
            # of the whole loss; times W, since DDP divides by it.
            gradient = gradient * world_size
            dist.all_reduce(gradient)
            own = gradient.size(1) // world_size
            gradient = gradient[:, rank * own : (rank + 1) * own]
        return (gradient * grad_outputs[0]).to(dtype), None, None, None


def _walk(
    z: Tensor, y: Tensor, c: Tensor, chunk_size: int, *, with_gradient: bool
) -> tuple[Tensor, Tensor | None]:
    """Sum squared sorted differences, and half their gradient, over views and projections.

    z is (V, N, D), y (V or 1, N, D), c (V or 1, K, D).
    """
    value = z.new_zeros(())
    gradient = torch.zeros_like(z) if with_gradient else None
    shared = y.size(0) == 1 and c.size(0) == 1
    for start in range(0, c.size(1), chunk_size):
        wanted = None
        for view in range(z.size(0)):
            chunk = c[view % c.size(0), start : start + chunk_size]
            if wanted is None or not shared:
                wanted = _sort_(chunk @ y[view % y.size(0)].T)
            into = None if gradient is None else gradient[view]
            value += _compare(chunk, z[view], wanted, into)
    return value, gradient


def _compare(chunk: Tensor, z: Tensor, wanted: Tensor, gradient: Tensor | None) -> Tensor:
    """One term of :func:`_walk`; its buffers are freed before the next one's are made."""
    projected = chunk @ z.T  # (chunk, N)
    if gradient is None:
        return _sort_(projected).sub_(wanted).square_().sum()
    values, order = _sort_with_order(projected)
    difference = values.sub_(wanted)
    projected.scatter_(1, order, difference)
    gradient.addmm_(projected.T, chunk)
    return difference.square_().sum()


def _sort_with_order(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Sort along the last dimension and tell where each value came from."""
    if rows.device.type != "cpu" or rows.dtype != torch.float32:
        return rows.sort(dim=-1)
    # Here numpy's sort is vectorised and torch's is not. A float32 leaves 29 bits of a float64
    # free: the column goes into them and is sorted along.
    packed = rows.double()
    bits = packed.view(torch.int64)
    bits |= torch.arange(rows.size(-1))
    packed.numpy().sort(axis=-1)
    values = packed.float()
    bits &= 2**29 - 1
    return values, bits


def _sort_(rows: Tensor) -> Tensor:
    """Sort along the last dimension, in place where that is possible."""
    if rows.device.type == "cpu":
        rows.numpy().sort(axis=-1)
        return rows
    return rows.sort(dim=-1).values


def _rank() -> int:
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def _world_size() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def _gathered(views: Tensor) -> Tensor:
    """Join the (V, N, D) of all processes along N, without a gradient."""
    world_size = _world_size()
    if world_size == 1:
        return views.detach()
    parts = [torch.empty_like(views) for _ in range(world_size)]
    dist.all_gather(parts, views.detach().contiguous())
    return torch.cat(parts, dim=1)


def _stacked(features: Tensor | Sequence[Tensor]) -> Tensor:
    """Bring the features into the form (V, N, D)."""
    if isinstance(features, Tensor):
        return features.unsqueeze(0) if features.ndim == 2 else features
    shapes = [tuple(view.shape) for view in features]
    if len(set(shapes)) != 1:
        raise ValueError(f"Expected `features` to be views of one shape (N, D) but got {shapes}.")
    return torch.stack(list(features))


def _check_chunk_size(chunk_size: int | None) -> None:
    if chunk_size is not None and chunk_size < 1:
        raise ValueError(f"Expected `chunk_size` to be positive but got {chunk_size}.")


def _check(views: Tensor, target: Tensor, projections: Tensor, world_size: int) -> None:
    if views.ndim != 3 or views.size(1) < 2:
        raise ValueError(
            "Expected `features` to be (N, D) or (V, N, D) with at least 2 samples but got shape "
            f"{tuple(views.shape)}."
        )
    num_views, num_samples, dim = views.shape
    wanted = (num_samples * world_size, dim)
    if target.shape not in (torch.Size(wanted), torch.Size((num_views, *wanted))):
        raise ValueError(
            f"Expected `target` to have shape {wanted} or {(num_views, *wanted)} for {world_size} "
            f"process(es) with features {tuple(views.shape)} but got {tuple(target.shape)}."
        )
    good = projections.ndim in (2, 3) and projections.size(-1) == dim
    if not good or (projections.ndim == 3 and projections.size(0) != num_views):
        raise ValueError(
            f"Expected `projections` to have shape (K, {dim}) or ({num_views}, K, {dim}) but got "
            f"{tuple(projections.shape)}."
        )
    if projections.size(-2) < world_size:
        raise ValueError(
            f"Expected at least one of the `projections` for each of {world_size} process(es) but "
            f"got {projections.size(-2)}."
        )
    for name, tensor in (("target", target), ("projections", projections)):
        if tensor.requires_grad:
            raise ValueError(f"Expected `{name}` not to require a gradient but it does.")
