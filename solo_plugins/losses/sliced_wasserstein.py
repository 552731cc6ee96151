# SPDX-License-Identifier: MIT
"""The sliced two-sample Wasserstein distance."""

__all__ = [
    "as_views",
    "check_chunk_size",
    "default_chunk_size",
    "distance_to",
    "sliced_wasserstein",
]

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch
from torch import Tensor

from solo_plugins import distributed
from solo_plugins.inputs import check_real
from solo_plugins.losses.projections import Projections, as_projections
from solo_plugins.losses.recorded import Recorder
from solo_plugins.losses.sorted_difference import Target, sorted_difference

# Elements of a buffer of projections x batch. Each operation on one is a barrier for the threads of
# torch, so more is faster; 2**18 keeps benchmarks/rdmreg.py below a quarter of the plain formula's
# memory, which 2**19 does not always.
_CPU_ELEMENTS = 2**18
_GPU_ELEMENTS = 2**24


def sliced_wasserstein(
    features: Tensor | Sequence[Tensor],
    target: Tensor,
    projections: Tensor | Projections,
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
        target: samples (N, D) for all views or (V, N, D). With W processes W * N samples, the same
            on all processes.
        projections: unit directions (K, D) for all views or (V, K, D), or an object that projects
            on them such as :class:`~solo_plugins.losses.HadamardProjections`; the same on all
            processes.
        chunk_size: projections at a time; by default as many as make 1 MiB (CPU) or 64 MiB (GPU).

    Returns:
        A scalar.

    Raises:
        ValueError: if shapes do not match, there are fewer than 2 samples, `target` or
            `projections` require a gradient, or `chunk_size` is not positive.
        TypeError: if a tensor is complex.

    Example:
        >>> z = torch.tensor([[0.0], [2.0]], requires_grad=True)
        >>> loss = sliced_wasserstein(z, torch.tensor([[1.0], [0.0]]), torch.ones(1, 1))
        >>> loss.backward()
        >>> loss.item(), z.grad.flatten()
        (0.5, tensor([0., 1.]))

    References:
        Rectified LpJEPA, https://arxiv.org/abs/2602.01456, equation 13.
    """
    views = as_views(features)
    _check_num_samples(views)
    _check_target(views, target)
    target = target if target.ndim == 3 else target.unsqueeze(0)
    shared, target = len(target) == 1, target.detach()
    return distance_to(
        lambda _: (projections, lambda some: target if shared else target[some.start : some.stop]),
        views,
        shares_target=shared,
        chunk_size=chunk_size,
    )


def distance_to(
    draw: Callable[[torch.Generator | None], tuple[Tensor | Projections, Target]],
    views: Sequence[Tensor],
    *,
    shares_target: bool,
    chunk_size: int | None = None,
    generator: torch.Generator | None = None,
    recorder: Recorder | None = None,
    key: Hashable = None,
) -> Tensor:
    """Compute :func:`sliced_wasserstein` to samples that are drawn when they are needed.

    Args:
        draw: gives K projections, and a function that gives samples of all processes for a range
            of views, (some, N, D), or (1, N, D) for all. Nobody else holds those, so that their
            memory is free again as soon as they are in the form that is projected.
        views: outputs (N, D) of each view.
        shares_target: whether all views have the same samples.
        chunk_size: as for :func:`sliced_wasserstein`.
        generator: where draws come from; what `draw` is called with.
        recorder: what records the operations of a GPU; nothing does by default.
        key: what `draw` depends on beside the shape of `views`, for `recorder`.

    Returns:
        A scalar.
    """
    _check_num_samples(views)
    check_chunk_size(chunk_size)
    if chunk_size is None:
        num_samples = len(views[0]) * distributed.world_size()
        chunk_size = default_chunk_size(num_samples, views[0].device)

    def checked(generator: torch.Generator | None) -> tuple[Projections, Target]:
        projections, target = draw(generator)
        return _checked_projections(views, projections), target

    return sorted_difference(
        views,
        checked,
        chunk_size,
        shares_target=shares_target,
        generator=generator,
        recorder=recorder,
        key=key,
    )


def default_chunk_size(num_samples: int, device: torch.device) -> int:
    """Choose how many projections of N samples are computed at a time."""
    elements = _CPU_ELEMENTS if device.type == "cpu" else _GPU_ELEMENTS
    return max(1, elements // num_samples)


def as_views(features: Tensor | Sequence[Tensor]) -> list[Tensor]:
    """Give the outputs (N, D) of each view, or refuse what has none."""
    alone = isinstance(features, Tensor) and features.ndim != 3
    views: list[Any] = [features] if alone else list(features)
    for view in views:
        check_real("features", view)
        if not view.is_floating_point():
            raise TypeError(f"Expected `features` to be floating point but got {view.dtype}.")
    wanted, got = "views of one shape (N, D)", f"{[tuple(view.shape) for view in views]}"
    if isinstance(features, Tensor):
        wanted, got = "(N, D) or (V, N, D)", f"shape {tuple(features.shape)}"
    shapes = {tuple(view.shape) for view in views}
    if [len(shape) for shape in shapes if all(shape)] != [2]:
        raise ValueError(f"Expected `features` to be {wanted}, none of them 0, but got {got}.")
    return views


def check_chunk_size(chunk_size: int | None) -> None:
    """Refuse a chunk size that is not positive."""
    if chunk_size is not None and chunk_size < 1:
        raise ValueError(f"Expected `chunk_size` to be positive but got {chunk_size}.")


def _check_num_samples(views: Sequence[Tensor]) -> None:
    if len(views[0]) < 2:
        raise ValueError(
            "Expected `features` to be (N, D) or (V, N, D) with at least 2 samples but got shape "
            f"{(len(views), *views[0].shape)}."
        )


def _check_target(views: Sequence[Tensor], target: Tensor) -> None:
    world_size, (num_samples, dim) = distributed.world_size(), views[0].shape
    wanted = (num_samples * world_size, dim)
    if tuple(target.shape) not in (wanted, (len(views), *wanted)):
        raise ValueError(
            f"Expected `target` to have shape {wanted} or {(len(views), *wanted)} for {world_size} "
            f"process(es) with features {(len(views), num_samples, dim)} but got "
            f"{tuple(target.shape)}."
        )
    _check_constant("target", target)


def _checked_projections(views: Sequence[Tensor], given: Tensor | Projections) -> Projections:
    dim = views[0].size(1)
    if isinstance(given, Tensor):
        if given.ndim not in (2, 3):
            raise _wrong_shape(views, tuple(given.shape))
        _check_constant("projections", given)
    projections = as_projections(given)
    if projections.dim != dim or projections.num_views not in (1, len(views)):
        own = (projections.num_views,) if projections.num_views > 1 else ()
        raise _wrong_shape(views, (*own, projections.num, projections.dim))
    world_size = distributed.world_size()
    if projections.num < world_size:
        raise ValueError(
            f"Expected at least one of the `projections` for each of {world_size} process(es) but "
            f"got {projections.num}."
        )
    return projections


def _wrong_shape(views: Sequence[Tensor], shape: tuple[int, ...]) -> ValueError:
    dim = views[0].size(1)
    return ValueError(
        f"Expected `projections` to have shape (K, {dim}) or ({len(views)}, K, {dim}) but got "
        f"{shape}."
    )


def _check_constant(name: str, tensor: Tensor) -> None:
    check_real(name, tensor)
    if tensor.requires_grad:
        raise ValueError(f"Expected `{name}` not to require a gradient but it does.")
