# SPDX-License-Identifier: MIT
"""Operations of a GPU that are recorded once and then started all at once."""

__all__ = ["Recorder"]

from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

# What is recorded: a function of samples and of where its random numbers come from.
Function: TypeAlias = Callable[[Tensor, torch.Generator | None], Sequence[Tensor]]

# Recordings hold their memory. Training has one of whole batches; the oldest makes room.
_KEPT = 4


class Recorder:
    """A CUDA graph of a function for each kind of samples that comes more than once.

    A GPU waits for the program that starts its operations one by one where they are small. A graph
    of a hundred takes the program as long as a few of them. Random numbers are those that the
    function would draw itself, from the same generator.

    What the function starts must follow from the key and from shape and dtype of the samples
    alone, and nothing of it may ask the GPU for a value. Copies of a recorder begin empty.

    Example:
        >>> def double(samples: Tensor, generator: torch.Generator | None) -> list[Tensor]:
        ...     return [2 * samples]
        >>> Recorder()(double, torch.ones(2), None, "double")  # a CPU records nothing
        [tensor([2., 2.])]
    """

    def __init__(self) -> None:
        self._recordings: dict[Hashable, _Recording | None] = {}

    def __call__(
        self, function: Function, samples: Tensor, generator: torch.Generator | None, key: Hashable
    ) -> Sequence[Tensor]:
        """Compute a function: as it is at first, recorded from the second time on.

        Args:
            function: what to compute, without gradients.
            samples: its argument.
            generator: its other argument, on the samples' device; torch's own there if None.
            key: what else the operations depend on.

        Returns:
            What the function returns, in memory that is the caller's.
        """
        if not _can_be_recorded(samples):
            return function(samples, generator)
        # What kernels torch chooses depends on these, too.
        modes = (torch.are_deterministic_algorithms_enabled(), _precision_of_products())
        key = (key, samples.shape, samples.dtype, samples.device, modes)
        if key not in self._recordings:  # the first time loads libraries, which cannot be recorded
            if len(self._recordings) == _KEPT:
                self._recordings.pop(next(iter(self._recordings)))
            self._recordings[key] = None
            return function(samples, generator)
        recording = self._recordings[key] = self._recordings[key] or _Recording(function, samples)
        return recording.replay(samples, generator)

    def __reduce__(self) -> tuple[Any, ...]:
        return (Recorder, ())


class _Recording:
    """One graph.

    Args:
        function: what to record.
        samples: samples like those that it will be computed of.
    """

    def __init__(self, function: Function, samples: Tensor) -> None:
        self._samples = samples.clone()
        self._generator = torch.Generator(samples.device)
        self._graph = torch.cuda.CUDAGraph()
        self._graph.register_generator_state(self._generator)
        with torch.cuda.device(samples.device):  # which need not be torch's present one
            capture = torch.cuda.graph(
                self._graph,
                stream=torch.cuda.Stream(),
                capture_error_mode="thread_local",  # other threads load data meanwhile
            )
            with capture:
                self._results = function(self._samples, self._generator)

    def replay(self, samples: Tensor, generator: torch.Generator | None) -> list[Tensor]:
        if generator is None:
            generator = torch.cuda.default_generators[samples.device.index]
        self._samples.copy_(samples)
        self._generator.set_state(generator.get_state())
        self._graph.replay()
        generator.set_state(self._generator.get_state())
        return [result.clone() for result in self._results]


def _precision_of_products() -> Any:
    """Ask how exact products of float32 are, by the newer name: the older one refuses beside it."""
    products = torch.backends.cuda.matmul
    newer = hasattr(products, "fp32_precision")  # from torch 2.9 on
    return products.fp32_precision if newer else products.allow_tf32


def _can_be_recorded(samples: Tensor) -> bool:
    # not one that pretends to be there (FakeTensor), nor within a graph of somebody else's
    return (
        samples.device.type == "cuda"
        and type(samples) is Tensor
        and not torch.cuda.is_current_stream_capturing()
    )
