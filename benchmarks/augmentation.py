# SPDX-License-Identifier: MIT
"""Views per second that one core augments: solo-learn's transforms by torchvision and by DALI.

    python benchmarks/augmentation.py [--images 5000 --batch 256 --repeats 5]

Random images of CIFAR's size go through CIFAR's list of augmentations, two views each: by
torchvision image by image, collected into batches, as one loading process does it; by DALI on the
CPU with one thread, from arrays in memory. The program keeps itself on one core, so that threads of
either cannot help each other. Rates are medians of alternating runs of all images, the building of
DALI's pipeline included. On a machine that is busy with something else both share the core with it:
`per_cpu_second` counts the time that the program had, `load` the processes that were running.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from PIL import Image
from torch.utils.data import Dataset

import solo_plugins.configs
from solo_plugins.data.dali import DaliLoader, Place, check_dali
from solo_plugins.data.datasets import with_normalization
from solo_plugins.data.loader import EpochSeededLoader
from solo_plugins.data.pixels import Pixels
from solo_plugins.data.transforms import dali_crops
from solo_plugins.framework import (
    FullTransformPipeline,
    NCropAugmentation,
    build_transform_pipeline,
    release,
)

SHARED = Path(solo_plugins.configs.__file__).parent / "shared"


class _Images(Dataset):
    """Images in memory with the transform that torchvision applies."""

    def __init__(self, pixels: np.ndarray, augmentation: DictConfig) -> None:
        transform = build_transform_pipeline("cifar100", augmentation)
        self.pixels = pixels
        self.crops = FullTransformPipeline([NCropAugmentation(transform, augmentation.num_crops)])

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> tuple[int, list[torch.Tensor], int]:
        return index, self.crops(Image.fromarray(self.pixels[index])), 0


def main() -> None:
    """Print a table and, as the last line, the figures as JSON."""
    args = _parse()
    core = min(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    torch.set_num_threads(1)
    check_dali()
    load = os.getloadavg()[0]  # of the minute before, without our own
    augmentation = _cifars()
    shape = (args.images, 32, 32, 3)
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    loaders = {
        "torchvision": EpochSeededLoader(_Images(pixels, augmentation), args.batch),
        "dali": _by_dali(pixels, augmentation, args.batch),
    }
    rates: dict[str, list[tuple[float, float]]] = {name: [] for name in loaders}
    for repeat in range(args.repeats + 1):
        for name, loader in loaders.items():
            rate = _rate(loader)
            if repeat:  # the first run warms up
                rates[name].append(rate)
    wall, cpu = (
        {name: statistics.median(rate[which] for rate in found) for name, found in rates.items()}
        for which in (0, 1)
    )
    result = {
        "speedup": wall["dali"] / wall["torchvision"],
        "speedup_per_cpu_second": cpu["dali"] / cpu["torchvision"],
        "views_per_second": wall,
        "views_per_cpu_second": cpu,
        "images": args.images,
        "batch": args.batch,
        "load": load,
        "solo_learn": release(),
        "torch": torch.__version__,
    }
    print(f"{'':14}{'views/s':>12}{'views/CPU s':>14}")
    for name in loaders:
        print(f"{name:14}{wall[name]:12.0f}{cpu[name]:14.0f}")
    print(f"{'ratio':14}{result['speedup']:12.2f}{result['speedup_per_cpu_second']:14.2f}")
    print(json.dumps(result))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=5)
    return parser.parse_args()


def _cifars() -> DictConfig:
    """Return the entry of `augmentations` that CIFAR's YAMLs have."""
    names = ("two_views", "cifar100")
    cfg: Any = OmegaConf.merge(*(OmegaConf.load(SHARED / f"{name}.yaml") for name in names))
    OmegaConf.resolve(cfg)
    return with_normalization("cifar100", cfg.augmentations[0])


def _by_dali(pixels: np.ndarray, augmentation: DictConfig, batch_size: int) -> DaliLoader:
    cfg = OmegaConf.create({"data": {"dataset": "cifar100"}, "dali": {"device": "cpu"}})
    images = Pixels(pixels, [0] * len(pixels))
    return DaliLoader(images, dali_crops(cfg, [augmentation]), batch_size, Place("cpu"))


def _rate(loader: Iterable[Any]) -> tuple[float, float]:
    """Return the views of an epoch by the seconds, and by those of the processor."""
    start, used = time.perf_counter(), time.process_time()
    views = sum(len(crop) for _, crops, _ in loader for crop in crops)
    return views / (time.perf_counter() - start), views / (time.process_time() - used)


if __name__ == "__main__":
    main()
