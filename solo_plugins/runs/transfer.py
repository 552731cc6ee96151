# SPDX-License-Identifier: MIT
"""The table of a network's probes on other data sets, in its run's folder, cell after cell."""

__all__ = ["Cell", "Summary", "TransferTable"]

import csv
import hashlib
import io
import json
import os
import statistics
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from solo_plugins.runs.files import RunFileError, parse_json, write_json, write_text
from solo_plugins.runs.folder import RunFolder
from solo_plugins.runs.lock import HeldError, held
from solo_plugins.untrusted.text import code, markdown

_COLUMNS = (
    "dataset", "shots", "draw", "features", "metric", "accuracy", "top1", "per_class", "c",
    "chosen_by", "iterations", "train_images", "validation_images", "test_images", "commit",
)  # fmt: skip

_LONGEST = 1000


class Cell(NamedTuple):
    """What was measured once, or why it could not be.

    Args:
        dataset: the data set's name.
        shots: images of each class, a percentage of all, or ``all``.
        draw: which of the draws of training images; None stands for all that are missing.
        facts: what is the same for all features: metric, numbers of images, commit.
        results: accuracies and how they came about, by ``backbone`` and ``projector``; empty if
            there are none.
        reason: why there are none, or an empty string.
    """

    dataset: str
    shots: str
    draw: int | None
    facts: Mapping[str, Any] = {}
    results: Mapping[str, Mapping[str, Any]] = {}
    reason: str = ""

    @property
    def place(self) -> tuple[str, str]:
        """The row of the table that it belongs to."""
        return self.dataset, self.shots


class Summary(NamedTuple):
    """All draws of one data set and number of images.

    Args:
        dataset: the data set's name.
        shots: as for a cell.
        metric: ``top 1`` or ``mean per class``, of the test images.
        draws: the number of draws.
        accuracies: mean and sample standard deviation over the draws, in percent, by ``backbone``
            and ``projector``; the deviation of one draw is None.
        reason: why cells are missing, or an empty string.
    """

    dataset: str
    shots: str
    metric: str
    draws: int
    accuracies: Mapping[str, tuple[float, float | None]]
    reason: str


class TransferTable:
    """The cells of one network under one protocol, which are written as they come.

    Those of another network, or another protocol, have files of their own.

    Args:
        path: its file, whether it exists or not.

    Raises:
        RunFileError: if the file is there and cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.identity: Mapping[str, Any] = {}
        self._cells: dict[tuple[str, str, int | None], Cell] = {}
        if not os.path.lexists(path):
            return
        content = parse_json(path)
        try:
            self.identity = dict(content["identity"])
            cells = [_checked(Cell(**entry)) for entry in content["cells"]]
            for cell in cells:
                self._cells[(*cell.place, cell.draw)] = cell
            self.summaries()
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise RunFileError(path, f"it is no table of transfer: {error!r:.150}") from error

    @classmethod
    def of(cls, folder: RunFolder, identity: Mapping[str, Any]) -> "TransferTable":
        """Find or begin the table of a network.

        Args:
            folder: the run's folder.
            identity: what tells networks and protocols apart, as ``json`` can write it.

        Returns:
            The table, with the cells that are done.
        """
        text = json.dumps(identity, sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:8]
        table = cls(folder.transfer_path(digest))
        table.identity = identity
        return table

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the table while a block runs.

        Yields:
            None.

        Raises:
            RunFileError: if another process works on it, or the disk refuses.
        """
        lock = self.path.with_suffix(".lock")
        try:
            with held(lock):
                yield
                lock.unlink(missing_ok=True)
        except HeldError as error:
            raise RunFileError(self.path, str(error).rstrip("."), "written") from error
        except PermissionError as error:
            raise RunFileError(self.path, str(error), "written") from error

    def __contains__(self, key: tuple[str, str, int]) -> bool:
        """Tell whether a data set, a number of images and a draw have been measured."""
        return key in self._cells

    def add(self, cell: Cell) -> None:
        """Add a cell, in place of an earlier one or of a reason, and write all files.

        Args:
            cell: the cell.

        Raises:
            RunFileError: if the disk is full or refuses; the files are as they were then.
        """
        self._cells.pop((*cell.place, None), None)
        self._cells[(*cell.place, cell.draw)] = cell
        cells = [cell._asdict() for cell in self._sorted()]
        write_json(self.path, {"identity": self.identity, "cells": cells})
        write_text(self.path.with_suffix(".csv"), self._csv())
        write_text(self.path.with_suffix(".md"), self.markdown())

    def summaries(self) -> list[Summary]:
        """Average over draws.

        Returns:
            A row for each data set and number of images: by name, few images first.
        """
        rows: dict[tuple[str, str], list[Cell]] = {}
        for cell in self._sorted():
            rows.setdefault(cell.place, []).append(cell)
        return [_summary(cells) for cells in rows.values()]

    def markdown(self) -> str:
        """Write the table in Markdown.

        Returns:
            A title, what it shows, and a row for each data set and number of images.
        """
        names = ("backbone", "projector")
        head = ("data set", "images of each class", "accuracy", "draws", *names)
        lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
        for row in self.summaries():
            cells = [_mean(row.accuracies.get(name)) for name in names]
            if not row.draws:
                cells = [row.reason, ""]
            texts = (row.dataset, row.shots, row.metric, str(row.draws), *cells)
            lines.append(f"| {' | '.join(map(markdown, texts))} |")
        return (
            f"# Transfer of {code(self.identity.get('checkpoint', ''))}\n\n"
            "Logistic regression on frozen features: percent of the test images, mean ± sample\n"
            "standard deviation over draws of the training images. How: `docs/using.md`.\n\n"
            + "\n".join(lines)
            + "\n"
        )

    def _sorted(self) -> Iterable[Cell]:
        return sorted(self._cells.values(), key=lambda c: (c.dataset, _size(c.shots), c.draw or 0))

    def _csv(self) -> str:
        file = io.StringIO()
        rows = csv.DictWriter(file, _COLUMNS, lineterminator="\n")
        rows.writeheader()
        for cell in self._sorted():
            for features, result in cell.results.items():
                own = {"dataset": cell.dataset, "shots": cell.shots, "draw": cell.draw}
                rows.writerow({**own, "features": features, **cell.facts, **result})
        return file.getvalue()


def _checked(cell: Cell) -> Cell:
    """Refuse a cell that is none, whoever wrote it."""
    texts = (cell.dataset, cell.shots, cell.reason)
    if not all(isinstance(text, str) and len(text) <= _LONGEST for text in texts):
        raise TypeError("a data set, a number of images or a reason is no text")
    if not isinstance(cell.draw, int | None):
        raise TypeError(f"the draw {cell.draw!r} is no number")
    for result in cell.results.values():
        if not 0 <= float(result["accuracy"]) <= 100:
            raise ValueError(f"{result['accuracy']!r} is no percentage")
    if cell.results:
        _ = str(cell.facts["metric"])
    return cell


def _size(shots: str) -> tuple[int, float]:
    """Sort images of each class before percentages, and all last."""
    if shots == "all":
        return 2, 0.0
    return (1, float(shots[:-1])) if shots.endswith("%") else (0, float(shots))


def _summary(cells: list[Cell]) -> Summary:
    done = [cell for cell in cells if cell.results]
    accuracies = {}
    for name in done[0].results if done else ():
        values = [float(cell.results[name]["accuracy"]) for cell in done]
        spread = statistics.stdev(values) if len(values) > 1 else None
        accuracies[name] = statistics.fmean(values), spread
    metric = str(done[0].facts["metric"]) if done else ""
    reason = next((cell.reason for cell in cells if cell.reason), "")
    return Summary(*cells[0].place, metric, len(done), accuracies, reason)


def _mean(found: tuple[float, float | None] | None) -> str:
    if found is None:
        return "none"
    mean, spread = found
    return f"{mean:.2f}" if spread is None else f"{mean:.2f} ± {spread:.2f}"
