# SPDX-License-Identifier: MIT
"""A training loader whose epochs can be repeated, from any batch on."""

__all__ = [
    "EpochSampler",
    "EpochSeededLoader",
    "Positioned",
    "QuietLoader",
    "derived_seeds",
    "seed_all",
]

import multiprocessing
import os
import random
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, DistributedSampler
from typing_extensions import override

# What a terminal or a cluster sends to all processes, beside SIGTERM. Windows has SIGINT alone.
_NAMES = ("SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2")
_IGNORED = {getattr(signal, name) for name in _NAMES if hasattr(signal, name)}
_MASKS = hasattr(signal, "pthread_sigmask")


class _Draw(NamedTuple):
    epoch: int
    image: int


class Positioned:
    """A loader's place in an epoch, which Lightning keeps in its checkpoints."""

    _position = 0
    _skipped = 0

    def set_position(self, position: int) -> None:
        """Set the place that checkpoints hold.

        Args:
            position: the number of batches of the present epoch that were trained on.
        """
        self._position = position

    def state_dict(self) -> dict[str, int]:
        """Return the place to go on from, as it was set last."""
        return {"position": self._position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Begin the next epoch at a place.

        Args:
            state: ``position``, the number of batches that are left out.
        """
        self._skipped = state["position"]

    def _take_skipped(self) -> int:
        """Return how many batches are left out, once."""
        skipped, self._skipped = self._skipped, 0
        return skipped


class QuietLoader(DataLoader):
    """torch's loader, whose loading processes leave signals to the one that trains, from birth.

    Args:
        dataset: as for torch's, and so are the others.
    """

    def __init__(self, dataset: Dataset, **settings: Any) -> None:
        super().__init__(dataset, worker_init_fn=_ignore_signals, **settings)

    @override
    def __iter__(self) -> Any:
        with _signals_wait():
            return super().__iter__()


class EpochSeededLoader(Positioned, QuietLoader):
    """Shuffles by the run's seed and the epoch, and augments by seed, epoch and image alone.

    The number of loading processes, and where in an epoch loading began, change nothing: a run that
    is resumed repeats what an uninterrupted one did. Loading in the training process leaves that
    one's random numbers as they are. Incomplete batches are dropped. Lightning tells the epoch to
    the sampler. Loading processes live as long as the loader: each image that they are asked for
    comes with its epoch.

    Args:
        dataset: what to load.
        batch_size: images per process and step.
        num_workers: processes that load; 0 loads in the training process.
        seed: the run's seed.
        draws: whether the dataset draws random numbers; seeding them for an image takes .1 ms.
        rank: the process's number.
        world_size: the number of processes.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        *,
        num_workers: int = 0,
        seed: int = 0,
        draws: bool = True,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.epoch_sampler = EpochSampler(
            dataset, num_replicas=world_size, rank=rank, shuffle=True, seed=seed, drop_last=True
        )
        super().__init__(
            _Seeded(dataset, seed) if draws else _OfDraws(dataset),
            batch_size=batch_size,
            sampler=self.epoch_sampler,
            num_workers=num_workers,
            pin_memory=torch.cuda.is_available(),
            drop_last=True,
            persistent_workers=num_workers > 0,
        )

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # the base's is private
        # A generator: nothing happens before the first batch is asked for. Lightning makes the
        # iterator while it counts steps for the schedule, when a resumed epoch is not known yet.
        self.epoch_sampler.skipped = self._take_skipped() * (self.batch_size or 1)
        yield from super().__iter__()


class EpochSampler(DistributedSampler):
    """torch's sampler of a process's images, which says the epoch with each, from any one on."""

    skipped = 0

    def order(self) -> np.ndarray:
        """Return the indexes of an epoch's images (N,), all of them."""
        return np.fromiter(super().__iter__(), np.int64)

    @override
    def __iter__(self) -> Iterator[Any]:
        skipped, self.skipped = self.skipped, 0
        for index in islice(super().__iter__(), skipped, None):
            yield _Draw(self.epoch, index)


class _OfDraws(Dataset):
    """A dataset that is asked for images of an epoch, a batch at a time."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitems__(self, draws: Sequence[_Draw]) -> list[Any]:
        return [self.dataset[draw.image] for draw in draws]


class _Seeded(_OfDraws):
    """A dataset that draws for an image of an epoch by these and the seed."""

    def __init__(self, dataset: Any, seed: int) -> None:
        super().__init__(dataset)
        self.seed = seed

    @override
    def __getitems__(self, draws: Sequence[_Draw]) -> list[Any]:
        with _states_put_back():
            return [self._drawn(draw) for draw in draws]

    def _drawn(self, draw: _Draw) -> Any:
        _seed_cpu(self.seed, *draw)
        return self.dataset[draw.image]


@contextmanager
def _signals_wait() -> Iterator[None]:
    """Keep signals until a block ends, in processes that it starts until `_ignore_signals`.

    Yields:
        None.
    """
    if not _MASKS:
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, *_IGNORED})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _ignore_signals(worker: int = 0) -> None:
    """Leave what a terminal or a cluster sends to all processes to the one that trains.

    A loading process that answers, too, would end before the step that is waited for. SIGTERM of
    the process that trains ends it, as torch and Python want it to; that of others, SLURM's among
    them, does not where the sender can be known (Linux).

    Args:
        worker: the loading process's number.
    """
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    if not _MASKS:
        return
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _IGNORED)
    trains = multiprocessing.parent_process()
    if trains is None or not hasattr(signal, "sigwaitinfo"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    else:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_end_when_told_by, args=(trains.pid,), daemon=True).start()


def _end_when_told_by(process: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != process:
        pass
    os._exit(0)


def seed_all(*numbers: int) -> None:
    """Seed Python, numpy and torch, on all devices.

    Args:
        numbers: non-negative; others give other seeds.
    """
    python, numpy, torchs = derived_seeds(*numbers)
    random.seed(python)
    np.random.seed(numpy)
    torch.manual_seed(torchs)


def _seed_cpu(*numbers: int) -> None:
    python, numpy, torchs = derived_seeds(*numbers)
    random.seed(python)
    np.random.seed(numpy)
    torch.default_generator.manual_seed(torchs)


@contextmanager
def _states_put_back() -> Iterator[None]:
    """Put the states of Python, numpy and torch on the CPU back at the end."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


def derived_seeds(*numbers: int) -> list[int]:
    """Derive seeds for Python, numpy and torch.

    Args:
        numbers: non-negative; others give other seeds.

    Returns:
        Three numbers from 0 to 2 ** 32 - 1.
    """
    return [int(seed) for seed in np.random.SeedSequence(numbers).generate_state(3)]
