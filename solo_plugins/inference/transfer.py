# SPDX-License-Identifier: MIT
"""A network's frozen features on other data sets, by linear probes on few or all images."""

__all__ = ["DATASETS_OF_THE_PAPER", "TransferSettings", "transfer"]

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from solo_plugins.data.datasets import DATASETS
from solo_plugins.data.fraction import Part
from solo_plugins.errors import ConfigurationError, one_of
from solo_plugins.evaluation.features import device_for
from solo_plugins.evaluation.probe import PROTOCOL, probe
from solo_plugins.inference.downstream import (
    Drawn,
    Features,
    Loading,
    Splits,
    Unavailable,
    draw_all,
    needed,
    open_splits,
)
from solo_plugins.inference.encoder import Encoder, load
from solo_plugins.runs.files import digest
from solo_plugins.runs.folder import RunFolder
from solo_plugins.runs.provenance import commit
from solo_plugins.runs.transfer import Cell, TransferTable
from solo_plugins.runs.writable import check_writable
from solo_plugins.training.launch import check_alone
from solo_plugins.training.trainer import say

DATASETS_OF_THE_PAPER = ("dtd", "cifar10", "cifar100", "flowers102", "food101", "pets")
_POSSIBLE = [name for name, info in DATASETS.items() if info.open is not None]


@dataclass(frozen=True)
class TransferSettings:
    """What is probed, and how.

    Args:
        datasets: names of data sets.
        shots: images of each class, a percentage of all such as ``5%``, or ``all``, each as a text.
        draws: how many draws of the training images, positive; of ``all`` there is one.
        root: the folder that data sets lie in as torchvision lays them out, each in a folder of its
            own; None looks where the run's own data lie.
        download: whether to download what is missing.
        batch_size: images that go through the network at once, positive.
        workers: processes that read images; 0 reads in this one.
        accelerator: ``auto`` or ``cpu``.

    Raises:
        ConfigurationError: if a data set is not known, or a number is out of range.
    """

    datasets: Sequence[str] = DATASETS_OF_THE_PAPER
    shots: Sequence[str] = ("1", "10", "all")
    draws: int = 5
    root: str | None = None
    download: bool = False
    batch_size: int = 256
    workers: int = 0
    accelerator: str = "auto"

    def __post_init__(self) -> None:
        for name in self.datasets:
            if name not in _POSSIBLE:
                raise one_of("datasets", name, _POSSIBLE)
        for setting, least in (("draws", 1), ("batch_size", 1), ("workers", 0)):
            if getattr(self, setting) < least:
                raise ConfigurationError(
                    f"Expected `{setting}` to be at least {least} but got {getattr(self, setting)}."
                )
        _ = self.cells

    @cached_property
    def cells(self) -> list[tuple[Part, int]]:
        """Each part of the training images with the number of each of its draws."""
        parts = {str(part): part for part in map(Part.parse, self.shots)}
        return [
            (part, draw)
            for part in parts.values()
            for draw in range(1 if part.whole else self.draws)
        ]


def transfer(path: str | Path, settings: TransferSettings | None = None) -> Path:
    """Probe a network on other data sets, and leave a table in its run's folder.

    Images go through the run's evaluation transform and the frozen network once; logistic
    regression is trained on the features of those that are drawn, see
    :func:`~solo_plugins.evaluation.probe.probe`. Draws are the same for every network. Each cell of
    the table is written when it is done, and a second call measures what is missing. A data set
    that is not there, or has too few images, is a cell that says so.

    Args:
        path: as for :func:`~solo_plugins.load`.
        settings: what and how.

    Returns:
        The table in Markdown; the same in JSON and CSV lies beside it.

    Raises:
        ConfigurationError: if the network or the folder of data sets cannot be had, or a feature is
            not finite.
    """
    settings = settings or TransferSettings()
    check_alone("`transfer`")
    encoder = load(path)
    root = _root(encoder, settings)
    check_writable(encoder.checkpoint.parent, "run")
    table = TransferTable.of(RunFolder(encoder.checkpoint.parent), _identity(encoder))
    encoder, code = encoder.to(device_for(settings.accelerator)), commit()
    with table.alone():
        for name in dict.fromkeys(settings.datasets):
            for cell in _cells(encoder, name, root, settings, table):
                table.add(cell._replace(facts={**cell.facts, "commit": code}))
                say(_line(cell))
    return table.path.with_suffix(".md")


def _identity(encoder: Encoder) -> dict[str, Any]:
    mean, std = encoder.normalization
    return {
        "checkpoint": encoder.checkpoint.name,
        "sha256": digest(encoder.checkpoint),
        "transform": {
            "dataset": encoder.config.data.dataset,
            "crop_size": encoder.crop_size,
            "mean": list(mean),
            "std": list(std),
        },
        "protocol": PROTOCOL,
    }


def _root(encoder: Encoder, settings: TransferSettings) -> str:
    """Find the folder of data sets; one that is not there is an error at the start."""
    root = settings.root
    if root is None and not DATASETS[encoder.config.data.dataset].image_folder:
        root = encoder.config.data.get("train_path")
    if all(DATASETS[name].bundled for name in settings.datasets):
        return root or ""
    if root is None or not (settings.download or os.path.isdir(root)):
        raise ConfigurationError(
            "Expected `--root` to be the folder that data sets lie in, or are downloaded to with "
            f"`--download`, but got {root!r}."
        )
    return root


def _cells(
    encoder: Encoder, name: str, root: str, settings: TransferSettings, table: TransferTable
) -> Iterator[Cell]:
    """Measure a data set's cells that are missing, or say why that is not possible."""
    missing = [cell for cell in settings.cells if (name, str(cell[0]), cell[1]) not in table]
    if not missing:
        say(f"{name}: done before.")
        return
    drawn: dict[tuple[Part, int], Drawn] = {}
    try:
        splits = open_splits(name, root, encoder.transform, fetch=settings.download)
        drawn, reasons = draw_all(splits, settings.cells)
        if any(cell in drawn for cell in missing):
            # Of all that was asked for, done or not: a second call has the batches of the first,
            # and its features to the last bit.
            found = _features(encoder, name, needed(splits, drawn), settings)
    except Unavailable as error:
        drawn, reasons = {}, {part: str(error) for part, _ in missing}
    for part, reason in reasons.items():
        yield Cell(name, str(part), None, reason=reason)
    for part, draw in missing:
        if (part, draw) in drawn:
            yield _measure(name, part, draw, found, drawn[part, draw])


def _features(
    encoder: Encoder, name: str, splits: Splits, settings: TransferSettings
) -> dict[str, Features]:
    loading = Loading(settings.batch_size, settings.workers, settings.accelerator)
    return {
        split: Features(encoder, images, f"{name}, {split}", loading)
        for split, images in splits._asdict().items()
        if images is not None
    }


def _measure(name: str, part: Part, draw: int, found: Mapping[str, Features], drawn: Drawn) -> Cell:
    info, train, test = DATASETS[name], found["train"], found["test"]
    results = {}
    for features in train.names:
        chosen_on = drawn.validation
        result = probe(
            train.at(features, drawn.train),
            test.all(features),
            None if chosen_on is None else found["validation"].at(features, chosen_on),
            per_class=info.per_class,
            join=part.whole,
            seed=draw,
        )
        results[features] = result._asdict()
    facts = {
        "metric": "mean per class" if info.per_class else "top 1",
        "train_images": len(drawn.train),
        "validation_images": 0 if drawn.validation is None else len(drawn.validation),
        "test_images": len(test.all("backbone").labels),
    }
    return Cell(name, str(part), draw, facts, results)


def _line(cell: Cell) -> str:
    if cell.reason:
        return f"{cell.dataset}, {cell.shots}: {cell.reason}"
    numbers = ", ".join(f"{name} {found['accuracy']:.2f} %" for name, found in cell.results.items())
    return f"{cell.dataset}, {cell.shots}, draw {cell.draw}: {numbers}"
