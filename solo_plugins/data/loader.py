# SPDX-License-Identifier: MIT
"""A training loader whose epochs can be repeated."""

__all__ = ["EpochSeededLoader"]

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, DistributedSampler


class EpochSeededLoader(DataLoader):
    """Shuffles, and seeds Python, numpy and torch, from the run's seed, the epoch and the rank.

    All that is random in an epoch, augmentations in workers included, then depends on these three
    only: a run that is resumed at an epoch repeats what an uninterrupted one did, and no two ranks
    augment alike. Incomplete batches are dropped. Lightning tells the epoch to the sampler.

    Args:
        dataset: what to load.
        batch_size: images per process and step.
        num_workers: processes that load; 0 loads in the training process.
        seed: the run's seed.
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
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.run_seed, self.rank = seed, rank
        self.epoch_sampler: DistributedSampler = DistributedSampler(
            dataset, num_replicas=world_size, rank=rank, shuffle=True, seed=seed, drop_last=True
        )
        super().__init__(
            dataset,
            batch_size=batch_size,
            sampler=self.epoch_sampler,
            num_workers=num_workers,
            pin_memory=torch.cuda.is_available(),
            drop_last=True,
        )

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # the base's is private
        # A generator: nothing happens before the first batch is asked for. Lightning makes the
        # iterator while it counts steps for the schedule, when a resumed epoch is not known yet.
        state = np.random.SeedSequence([self.run_seed, self.epoch_sampler.epoch, self.rank])
        seed = int(state.generate_state(1)[0])
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        yield from super().__iter__()
