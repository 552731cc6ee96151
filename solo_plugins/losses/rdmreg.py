# SPDX-License-Identifier: MIT
"""RDMReg: a sliced two-sample Wasserstein distance between outputs and a target distribution."""

__all__ = ["RDMReg", "sliced_wasserstein"]

import inspect
import warnings
from collections.abc import Callable, Hashable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from solo_plugins import distributed
from solo_plugins.distributions import RectifiedGeneralizedGaussian, Target
from solo_plugins.inputs import check_one_argument
from solo_plugins.losses.directions import Directions
from solo_plugins.losses.projections import Projections
from solo_plugins.losses.recorded import Recorder
from solo_plugins.losses.sliced_wasserstein import (
    as_views,
    check_chunk_size,
    distance_to,
    sliced_wasserstein,
)


class RDMReg(nn.Module):
    """The regulariser: it draws directions and target samples and compares.

    Outputs that only agree between views may all become one point. This term keeps them from it by
    their whole distribution, not by its first moments: two laws of D numbers are the same if all
    their projections are, and along a direction two samples are compared by sorting both. So the
    outputs get the target's zeros, tail and independence at once, without negative pairs.

    Args:
        target: the distribution of one output, with an empty batch shape.
        directions: a function of the views' outputs that gives projections on unit directions, e.g.
            :class:`~solo_plugins.losses.directions.RandomDirections`.
        share_target: draw one target sample for all views; by default one for each, as the
            reference implementation does.
        chunk_size: as for :func:`sliced_wasserstein`.
        cuda_graph: record the operations of an NVIDIA GPU and start them all at once from the
            second time on that outputs have a shape: the program, for which a GPU waits, then takes
            a tenth of the time. Draws and results are the same. It happens where `target` and
            `directions` say that they can be recorded, as :class:`RandomDirections` and
            :class:`HadamardDirections` do; neither may be changed in place then. The memory of a
            step is held between steps.

    Raises:
        ValueError: if `chunk_size` is not positive.
        TypeError: if `target` or `directions` is something else.

    Example:
        >>> from solo_plugins.losses.directions import RandomDirections
        >>> from solo_plugins.distributions import RectifiedGeneralizedGaussian
        >>> rdm_reg = RDMReg(RectifiedGeneralizedGaussian(0.0, 0.7071, 1.0), RandomDirections(256))
        >>> first, second = torch.rand(64, 32), torch.rand(64, 32)
        >>> rdm_reg([first, second]).shape
        torch.Size([])
    """

    def __init__(
        self,
        target: Target,
        directions: Directions,
        *,
        share_target: bool = False,
        chunk_size: int | None = None,
        cuda_graph: bool = True,
    ) -> None:
        super().__init__()
        check_chunk_size(chunk_size)
        if isinstance(target, type) or not _can_be_drawn(target):
            raise TypeError(
                "Expected `target` to be a distribution whose `sample` takes `generator` and "
                f"`device`, such as RectifiedGeneralizedGaussian(), but got {_kind(target)}."
            )
        if isinstance(directions, type) or not callable(directions):
            raise TypeError(
                "Expected `directions` to be a way to draw them, such as RandomDirections(1024), "
                f"but got {_kind(directions)}."
            )
        self.target = target
        self.directions = directions
        self.share_target = share_target
        self.chunk_size = chunk_size
        self.cuda_graph = cuda_graph
        self._recorder = Recorder()
        self._looked = False

    def extra_repr(self) -> str:
        """Describe the settings in one line."""
        return f"{self.target}, {self.directions}, share_target={self.share_target}"

    def forward(
        self,
        features: Tensor | Sequence[Tensor],
        *others: object,
        target: Tensor | None = None,
        projections: Tensor | Projections | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Compute the mean over views of their distance to the target.

        Args:
            features: outputs (N, D) or (V, N, D), or a sequence of (N, D).
            others: nothing: views come as one argument.
            target: samples to use in place of a draw; see :func:`sliced_wasserstein`.
            projections: directions to use in place of a draw; see :func:`sliced_wasserstein`.
            generator: where the draws come from, on the features' device. With several processes
                all must pass one in the same state; without it they need equal global generators.

        Returns:
            A scalar.

        Warns:
            UserWarning: if an output of the first call is negative and the target is rectified.

        Raises:
            ValueError, TypeError: as :func:`sliced_wasserstein`.
        """
        check_one_argument("rdm_reg", others)
        views = as_views(features)
        if target is not None:
            if projections is None:
                projections = self.directions(views, generator=generator)
            return sliced_wasserstein(views, target, projections, chunk_size=self.chunk_size)
        if not (self._looked or torch.compiler.is_compiling()):
            self._looked = True
            self._look(views)
        draw = partial(self._draw, views, projections)
        key: Hashable = None
        recorder = self._recorder if self._can_be_recorded and projections is None else None
        if recorder is not None:
            key = (self.target, self.directions, self.share_target)
        return distance_to(
            draw,
            views,
            shares_target=self.share_target,
            chunk_size=self.chunk_size,
            generator=generator,
            recorder=recorder,
            key=key,
        )

    def _look(self, views: Sequence[Tensor]) -> None:
        """Warn of outputs that cannot become what they are matched to."""
        rectified = isinstance(self.target, RectifiedGeneralizedGaussian)
        # a fake tensor has no values
        known = [view.detach() for view in views if type(view) in (Tensor, nn.Parameter)]
        if rectified and any(bool((view < 0).any()) for view in known):
            warnings.warn(
                "Some outputs are negative, and those of the target never are: the projector has "
                "to end in a ReLU, as solo_plugins.RectifiedMLP does.",
                stacklevel=_stacklevel(),
            )

    @property
    def _can_be_recorded(self) -> bool:
        return self.cuda_graph and all(map(_says_so, (self.target, self.directions)))

    def _draw(
        self,
        views: Sequence[Tensor],
        projections: Tensor | Projections | None,
        generator: torch.Generator | None,
    ) -> tuple[Tensor | Projections, Callable[[range], Tensor]]:
        if projections is None:
            projections = self.directions(views, generator=generator)
        return projections, partial(self._draw_target, views, generator)

    def _draw_target(
        self, views: Sequence[Tensor], generator: torch.Generator | None, some: range
    ) -> Tensor:
        """Draw a sample (N, D) for each of some views or for all, N of all processes."""
        (num_samples, dim), device = views[0].shape, views[0].device
        # In the layout that projecting takes, samples last, of all views side by side; all entries
        # have one law.
        num_views = 1 if self.share_target else len(some)
        num_samples *= distributed.world_size()
        shape = (dim, num_views * num_samples)
        drawn = self.target.sample(shape, generator=generator, device=device)
        return drawn.T.unflatten(0, (num_views, num_samples))


def _stacklevel() -> int:
    """Count the calls from the caller's up to the one that called a module of this package."""
    frame, level = inspect.currentframe(), 0
    inside = (__name__.partition(".")[0], "torch")
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] in inside:
        frame, level = frame.f_back, level + 1
    return level


def _can_be_drawn(target: object) -> bool:
    sample = getattr(target, "sample", None)
    if not callable(sample):
        return False
    parameters = inspect.signature(sample).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return True
    return {"generator", "device"} <= {parameter.name for parameter in parameters}


def _kind(value: object) -> str:
    return f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__


def _says_so(part: object) -> bool:
    """Whether it can be recorded: a class says so itself, as its own draws may ask for values."""
    return "can_be_recorded" in vars(type(part)) and bool(getattr(part, "can_be_recorded", False))
