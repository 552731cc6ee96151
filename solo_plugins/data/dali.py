# SPDX-License-Identifier: MIT
"""Images through NVIDIA DALI, from memory or from files, in an order and with draws that repeat.

DALI's own readers shuffle by a state that cannot be set, and its random operators count on from a
pipeline's first batch. Here the order is that of the loader without DALI, images are handed to a
pipeline batch by batch, and a pipeline serves `BLOCK` batches: its seed follows from the run's
seed, the epoch, the process and the block. To begin within a block, single pixels go through the
pipeline in place of the batches before: random operators draw by the number of a batch and the
place in it, whatever the image.
"""

__all__ = ["BLOCK", "DaliLoader", "LabelledDaliLoader", "OrderedDaliLoader", "Place", "check_dali"]

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DistributedSampler

from solo_plugins.data.encoded import EncodedFiles
from solo_plugins.data.loader import EpochSampler, Positioned, derived_seeds
from solo_plugins.data.pixels import Pixels
from solo_plugins.errors import ConfigurationError

# A pipeline takes as long to build as one or two batches of CIFAR take to augment; a run that goes
# on within an epoch augments at most so many batches for nothing.
BLOCK = 512
# The batches that DALI may hold when it finds one that it cannot decode.
_IN_FLIGHT = 4

_Batch = tuple[list[Tensor], Tensor]
# A function without arguments that gives a function of DALI's images; it is called where a pipeline
# is defined.
Transform = Callable[[], Callable[[Any], Sequence[Any]]]


class Place(NamedTuple):
    """Where a pipeline runs.

    Args:
        device: ``gpu`` or ``cpu``.
        device_id: the number of the GPU, None on the CPU.
        num_threads: of the CPU, at least 1.
    """

    device: str
    device_id: int | None = None
    num_threads: int = 1


def check_dali() -> None:
    """Refuse to go on without DALI.

    Raises:
        ConfigurationError: if it is not installed.
    """
    try:
        import nvidia.dali.plugin.pytorch  # noqa: F401
    except ImportError as error:
        raise ConfigurationError(
            "Expected NVIDIA DALI to be installed with `data.format: dali` but it cannot be "
            f"imported ({error}): pip install 'solo_plugins[dali]'."
        ) from error


class DaliLoader(Positioned):
    """Shuffles by the run's seed and the epoch, and augments by these, the process and the batch.

    A run that is resumed repeats what an uninterrupted one did, on the CPU bit for bit. The number
    of threads changes nothing; batch size and number of processes do. Incomplete batches are
    dropped. Lightning tells the epoch to the sampler. Batches are lists of indexes (N,), crops and
    targets (N,); crops are where the pipeline runs.

    Args:
        images: the images of all processes.
        transform: what gives the crops of an image.
        batch_size: images per process and step.
        place: where the pipeline runs.
        seed: the run's seed.
        rank: the process's number.
        world_size: the number of processes.
    """

    def __init__(
        self,
        images: Pixels | EncodedFiles,
        transform: Transform,
        batch_size: int,
        place: Place,
        *,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.images, self.transform, self.place = images, transform, place
        self.batch_size, self.seed, self.rank = batch_size, seed, rank
        self.targets = torch.as_tensor(images.targets, dtype=torch.long)
        sized: Any = images
        self.sampler = EpochSampler(
            sized, num_replicas=world_size, rank=rank, shuffle=True, seed=seed, drop_last=True
        )

    def __len__(self) -> int:
        return len(self.sampler) // self.batch_size

    def __iter__(self) -> Iterator[list[Any]]:
        # A generator, for the reason that EpochSeededLoader's is one.
        skipped, epoch = self._take_skipped(), self.sampler.epoch
        order = self.sampler.order()[: len(self) * self.batch_size].reshape(-1, self.batch_size)
        for block in range(skipped // BLOCK, -(-len(self) // BLOCK)):
            seed = derived_seeds(self.seed, epoch, self.rank, block)[0]
            batches = list(order[block * BLOCK : (block + 1) * BLOCK])
            left_out = max(0, skipped - block * BLOCK)
            run = _run(self.images, batches, self.transform, self.place, seed, left_out)
            for crops, indexes in run:
                yield self._batch(indexes, crops, self.targets[indexes])

    def _batch(self, indexes: Tensor, crops: list[Tensor], targets: Tensor) -> list[Any]:
        return [indexes, crops, targets]


class LabelledDaliLoader(DaliLoader):
    """The same with batches of images (N, 3, H, W) and targets (N,), for classifiers."""

    def _batch(self, indexes: Tensor, crops: list[Tensor], targets: Tensor) -> list[Any]:
        return [crops[0], targets]


class OrderedDaliLoader:
    """Every image once, in order: batches of images (N, 3, H, W) and targets (N,).

    As torch's own sampler does, the share of each of several processes is filled up with images
    from the beginning.

    Args:
        images: the images of all processes.
        transform: what gives one crop of an image.
        batch_size: images per process and step; the last batch has what is left.
        place: where the pipeline runs.
        rank: the process's number.
        world_size: the number of processes.
    """

    def __init__(
        self,
        images: Pixels | EncodedFiles,
        transform: Transform,
        batch_size: int,
        place: Place,
        *,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.images, self.transform, self.place = images, transform, place
        self.batch_size = batch_size
        self.targets = torch.as_tensor(images.targets, dtype=torch.long)
        sized: Any = images
        order: list[int] = list(DistributedSampler(sized, world_size, rank, shuffle=False))
        starts = range(0, len(order), batch_size)
        self._batches = [np.array(order[start : start + batch_size]) for start in starts]

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[list[Tensor]]:
        run = _run(self.images, self._batches, self.transform, self.place, seed=0, left_out=0)
        for crops, indexes in run:
            yield [crops[0], self.targets[indexes]]


def _run(
    images: Pixels | EncodedFiles,
    batches: Sequence[np.ndarray],
    transform: Transform,
    place: Place,
    seed: int,
    left_out: int,
) -> Iterator[_Batch]:
    """Send batches of indexes through a pipeline, the first ones without their images.

    Yields:
        The crops and indexes of each batch that is not left out.
    """
    from nvidia.dali.plugin.pytorch import DALIGenericIterator, LastBatchPolicy

    in_flight: deque[np.ndarray] = deque(maxlen=_IN_FLIGHT)

    def source() -> Iterator[tuple[Any, np.ndarray]]:
        for indexes in batches[:left_out]:
            yield images.blank(len(indexes)), indexes[:, None]
        remaining = batches[left_out:]
        for indexes, content in images.read(remaining, place.num_threads):
            in_flight.append(indexes)
            yield content, indexes[:, None]

    pipeline = _pipeline(
        source(), images.encoded, transform, place, batch_size=len(batches[0]), seed=seed
    )
    outputs = [str(number) for number in range(pipeline.num_outputs)]
    run = DALIGenericIterator(
        pipeline, outputs, last_batch_policy=LastBatchPolicy.PARTIAL, prepare_first_batch=False
    )
    try:
        for (batch,) in islice(run, left_out, None):
            crops = [batch[name] for name in outputs[:-1]]
            yield crops, batch[outputs[-1]][:, 0]
    except RuntimeError as error:
        raise images.error(error, in_flight) from error


def _pipeline(
    source: Iterator[Any],
    encoded: bool,
    transform: Transform,
    place: Place,
    *,
    batch_size: int,
    seed: int,
) -> Any:
    """Build a pipeline that gives crops and indexes."""
    from nvidia.dali import fn, pipeline_def, types

    on_gpu = place.device == "gpu"
    layout: Any = [None if encoded else "HWC", None]

    def decode(content: Any) -> Any:
        device = "mixed" if on_gpu else "cpu"
        return fn.decoders.image(content, device=device, output_type=types.DALIImageType.RGB)

    def move(pixels: Any) -> Any:
        return pixels.gpu() if on_gpu else pixels

    given = decode if encoded else move

    # solo-learn's transforms decide by DALI's conditionals which images are changed
    @pipeline_def(enable_conditionals=True)
    def define() -> tuple[Any, ...]:
        content, indexes = fn.external_source(source, num_outputs=2, batch=True, layout=layout)
        return (*transform()(given(content)), indexes)

    pipeline = define(
        batch_size=batch_size,
        num_threads=place.num_threads,
        device_id=place.device_id if on_gpu else None,
        seed=seed,
    )
    pipeline.build()
    return pipeline
