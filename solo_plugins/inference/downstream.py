# SPDX-License-Identifier: MIT
"""The splits of a data set, the images that are drawn of them, and their features."""

__all__ = [
    "Drawn",
    "Features",
    "Images",
    "Loading",
    "Splits",
    "Unavailable",
    "draw_all",
    "needed",
    "open_splits",
]

from collections.abc import Callable, Iterable, Mapping
from http.client import HTTPException
from typing import Any, NamedTuple

import numpy as np
from torch.utils.data import DataLoader, Dataset, Subset
from tqdm import tqdm

from solo_plugins.data.datasets import DATASETS, download, labels_of
from solo_plugins.data.fraction import Part
from solo_plugins.errors import ConfigurationError
from solo_plugins.evaluation.features import device_for, extract
from solo_plugins.evaluation.probe import Labelled
from solo_plugins.inference.encoder import Encoder

# What torchvision raises if files are missing or damaged, or cannot be downloaded.
_MISSING = (OSError, RuntimeError, HTTPException, ValueError, KeyError)


class Unavailable(Exception):
    """Why a data set, or a part of it, cannot be probed, as a clause."""


class Images(NamedTuple):
    """Some images of a split.

    Args:
        dataset: the split, of pairs of image tensor and label.
        labels: those of the whole split (N,).
        places: which images these are, in order.
    """

    dataset: Dataset
    labels: np.ndarray
    places: np.ndarray

    @classmethod
    def of(cls, dataset: Any) -> "Images":
        """Take a whole split."""
        labels = labels_of(dataset)
        return cls(dataset, labels, np.arange(len(labels)))


class Splits(NamedTuple):
    """A data set.

    Args:
        train: the training images.
        validation: those that it has for choosing settings, or None.
        test: the test images.
    """

    train: Images
    validation: Images | None
    test: Images


class Drawn(NamedTuple):
    """The places of the images that one probe may see.

    Args:
        train: of the training images.
        validation: of those for choosing settings, or None if the data set has none.
    """

    train: np.ndarray
    validation: np.ndarray | None


class Loading(NamedTuple):
    """How images go through a network.

    Args:
        batch_size: how many at once.
        workers: processes that read images.
        accelerator: ``auto`` or ``cpu``.
    """

    batch_size: int
    workers: int
    accelerator: str


class Features:
    """Features of some images of a split, each of which goes through the network once.

    Args:
        encoder: the network.
        images: the images.
        what: what they are, for the progress bar.
        loading: how they go through it.

    Raises:
        Unavailable: if an image cannot be read.
        ConfigurationError: if a feature is not finite.
    """

    def __init__(self, encoder: Encoder, images: Images, what: str, loading: Loading) -> None:
        self._labels, self._places = images.labels, images.places
        device = device_for(loading.accelerator)
        names = ["backbone"] if encoder.projector is None else ["backbone", "projector"]
        loader = DataLoader(
            Subset(images.dataset, images.places.tolist()),
            batch_size=loading.batch_size,
            num_workers=loading.workers,
            pin_memory=device.type == "cuda",
        )
        try:
            found = extract(encoder, tqdm(loader, what, disable=None), names, device)
        except OSError as error:
            raise Unavailable(f"an image cannot be read: {_text(error)}") from error
        self._by_name = {name: values.numpy() for name, values in found.by_name.items()}

    @property
    def names(self) -> list[str]:
        """``backbone``, and ``projector`` if there is one."""
        return list(self._by_name)

    def at(self, name: str, places: np.ndarray) -> Labelled:
        """Look up images.

        Args:
            name: ``backbone`` or ``projector``.
            places: of images in the split, which are among those of which there are features.

        Returns:
            Features and labels.
        """
        rows = np.searchsorted(self._places, places)
        return Labelled(self._by_name[name][rows], self._labels[places])

    def all(self, name: str) -> Labelled:
        """Return all features and labels.

        Args:
            name: ``backbone`` or ``projector``.
        """
        return self.at(name, self._places)


def open_splits(name: str, root: str, transform: Callable, *, fetch: bool) -> Splits:
    """Open a data set; no image is read.

    Args:
        name: a data set that :data:`~solo_plugins.data.datasets.DATASETS` can open.
        root: its folder.
        transform: a function of a PIL image that gives a tensor.
        fetch: whether to download what is missing.

    Returns:
        Its splits.

    Raises:
        Unavailable: if it cannot be downloaded or read, or its splits do not fit.
    """
    info = DATASETS[name]
    if info.open is None:
        raise ValueError(f"Expected a data set that can be opened but got {name!r}.")
    try:
        if fetch:
            download(name, root)
        train, test = (Images.of(info.open(root, wanted, transform)) for wanted in (True, False))
        validation = None if info.validation is None else info.validation(root, transform)
        splits = Splits(train, None if validation is None else Images.of(validation), test)
    except _MISSING as error:
        wrong = "cannot be downloaded to" if fetch else "not found in"
        hint = "" if fetch or info.download is None else " (`--download` fetches it)"
        raise Unavailable(f"{wrong} {root!r}{hint}: {_text(error)}") from error
    unknown = np.setdiff1d(splits.test.labels, splits.train.labels)
    if unknown.size:
        raise Unavailable(f"its test images have a class that training lacks, number {unknown[0]}")
    if len(np.unique(splits.train.labels)) < 2:
        raise Unavailable("its training images are all of one class")
    return splits


def draw_all(
    splits: Splits, cells: Iterable[tuple[Part, int]]
) -> tuple[dict[tuple[Part, int], Drawn], dict[Part, str]]:
    """Draw images for all probes, of training and validation alike.

    Args:
        splits: the data set.
        cells: parts and the numbers of their draws.

    Returns:
        The places of each, and the reasons of parts that cannot be drawn.
    """
    drawn: dict[tuple[Part, int], Drawn] = {}
    reasons: dict[Part, str] = {}
    for part, draw in cells:
        validation = splits.validation
        try:
            train = part.places(splits.train.labels, draw=draw)
            chosen_on = None if validation is None else part.places(validation.labels, draw=draw)
        except ConfigurationError as error:
            reasons[part] = str(error)
        else:
            drawn[part, draw] = Drawn(train, chosen_on)
    return drawn, reasons


def needed(splits: Splits, drawn: Mapping[Any, Drawn]) -> Splits:
    """Keep the images that are looked at.

    Args:
        splits: the data set.
        drawn: what is drawn; at least one.

    Returns:
        The same splits with those places that are in a draw; test images are all kept.
    """
    train = np.unique(np.concatenate([places.train for places in drawn.values()]))
    validation = splits.validation
    if validation is not None:
        places = [places.validation for places in drawn.values() if places.validation is not None]
        validation = validation._replace(places=np.unique(np.concatenate(places)))
    return splits._replace(train=splits.train._replace(places=train), validation=validation)


def _text(error: Exception) -> str:
    text = " ".join(str(error).split()).partition(". You can use download=True")[0]
    return text[:200] or type(error).__name__
