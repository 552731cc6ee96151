# SPDX-License-Identifier: MIT
"""Embeddings of any number of images, written as they are computed."""

__all__ = ["EmbedSettings", "embed"]

import csv
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from solo_plugins.codes.embeddings import (
    CODES,
    CODES_CSR,
    FEATURES,
    IMAGES,
    META,
    SKIPPED,
    Embeddings,
)
from solo_plugins.codes.rows import RowWriter, join_csr, join_dense
from solo_plugins.distributed import (
    first_says,
    gather_objects,
    rank,
    started_by_torchrun,
    wait_for_all,
    world_size,
)
from solo_plugins.errors import ConfigurationError, UnreadableImageError
from solo_plugins.evaluation.features import device_for, stream
from solo_plugins.inference.encoder import Encoder, load
from solo_plugins.inference.source import Source, find_source
from solo_plugins.runs.files import whole_folder, write_json
from solo_plugins.runs.provenance import commit
from solo_plugins.runs.writable import check_writable
from solo_plugins.training.launch import check_alone

_COLUMNS = {IMAGES: ("index", "name", "label", "class"), SKIPPED: ("index", "name", "reason")}


@dataclass(frozen=True)
class EmbedSettings:
    """How images are encoded.

    Args:
        split: ``train`` or ``val``, of data sets that have both.
        root: where the data set lies; None looks where the run's lay.
        strict: whether a file that cannot be read is an error; otherwise it is skipped and counted.
        batch_size: images that go through the network at once, positive.
        workers: processes that read images; 0 reads in this one.
        accelerator: ``auto`` or ``cpu``.
    """

    split: str = "val"
    root: str | None = None
    strict: bool = False
    batch_size: int = 256
    workers: int = 0
    accelerator: str = "auto"

    def __post_init__(self) -> None:
        for name, least in (("batch_size", 1), ("workers", 0)):
            if getattr(self, name) < least:
                raise ConfigurationError(
                    f"Expected `{name}` to be at least {least} but got {getattr(self, name)}."
                )


class _Row(NamedTuple):
    """An image, or why it cannot be read."""

    number: int
    image: Tensor | None
    label: int
    reason: str = ""


class _Counts(NamedTuple):
    """What one process has seen."""

    images: int
    skipped: int
    all_zero: int
    widths: tuple[int, int]


class _Numbered(Dataset):
    """A part of a data set, whose images come with their numbers."""

    def __init__(self, source: Source, part: range, *, strict: bool) -> None:
        self.dataset: Any = source.dataset
        self.part, self.strict = part, strict

    def __len__(self) -> int:
        return len(self.part)

    def __getitem__(self, place: int) -> _Row:
        index = self.part[place]
        try:
            image, label = self.dataset[index]
        except UnreadableImageError as error:
            if self.strict:
                raise
            return _Row(index, None, -1, str(error))
        return _Row(index, image, int(label))


def embed(
    path: str | Path,
    out: str | Path,
    data: str | None = None,
    settings: EmbedSettings | None = None,
) -> Embeddings:
    """Encode images and write what comes out, see ``docs/using.md`` for the files.

    Memory does not grow with the number of images, but for their names and 8 bytes each. Processes
    that torchrun has started share the images.

    Args:
        path: as for :func:`~solo_plugins.load`.
        out: the folder, made whole or not at all.
        data: as for :func:`~solo_plugins.inference.source.find_source`.
        settings: how.

    Returns:
        The embeddings.

    Raises:
        ConfigurationError: if the network or the images cannot be had, no image can be read, the
            folder holds something, or a feature is not finite.
    """
    settings = settings or EmbedSettings()
    check_alone("`embed`", torchrun=True)
    check_writable(out, "out")
    with started_by_torchrun(), ExitStack() as stack:
        encoder = load(path)
        source = find_source(
            encoder, data, split=settings.split, root=settings.root, strict=settings.strict
        )
        first, begin = rank() == 0, time.perf_counter()
        # the first process alone makes the folder, and ends it when all are done
        folder = first_says(stack.enter_context(whole_folder(Path(out))) if first else None)
        parts = gather_objects(_write_part(encoder, source, folder, settings))
        if first:
            _join(encoder, source, folder, parts, time.perf_counter() - begin)
        stack.close()
        wait_for_all()
    return Embeddings(Path(out))


def _write_part(encoder: Encoder, source: Source, folder: Path, settings: EmbedSettings) -> _Counts:
    """Encode this process's images, a row of neighbouring ones."""
    dataset: Any = source.dataset
    number, processes, total = rank(), world_size(), len(dataset)
    part = range(number * total // processes, (number + 1) * total // processes)
    device = device_for(settings.accelerator)
    encoder = encoder.to(device)
    names = ["backbone"] if encoder.projector is None else ["backbone", "projector"]
    loader = DataLoader(
        _Numbered(source, part, strict=settings.strict),
        batch_size=settings.batch_size,
        num_workers=settings.workers,
        collate_fn=_collate,
        pin_memory=device.type == "cuda",
    )
    images = all_zero = skipped = 0
    with ExitStack() as stack:
        features = stack.enter_context(RowWriter(_stem(folder, FEATURES, number), sparse=False))
        codes = stack.enter_context(RowWriter(_stem(folder, CODES, number), sparse=True))
        tables = {
            name: csv.writer(
                stack.enter_context(
                    _stem(folder, name, number).open(
                        "w", newline="", encoding="utf-8", errors="surrogateescape"
                    )
                )
            )
            for name in _COLUMNS
        }
        bar = stack.enter_context(
            tqdm(total=len(part), unit=" images", disable=None if number == 0 else True)
        )

        def readable() -> Iterator[tuple[Tensor, list[_Row]]]:
            nonlocal skipped
            for batch, rows in loader:
                left_out = [row for row in rows if row.reason]
                skipped += len(left_out)
                name_of = _names(source)
                tables[SKIPPED].writerows((r.number, name_of(r.number), r.reason) for r in left_out)
                bar.update(len(rows))
                if batch is not None:
                    yield batch, [row for row in rows if not row.reason]

        for found, rows in stream(encoder, readable(), names, device):
            images += len(rows)
            features.write(found["backbone"].numpy())
            if "projector" in found:
                codes.write(found["projector"].numpy())
                all_zero += int((found["projector"] == 0).all(dim=1).sum())
            tables[IMAGES].writerows(_described(source, rows))
    return _Counts(images, skipped, all_zero, (features.width, codes.width))


def _collate(rows: Sequence[_Row]) -> tuple[Tensor | None, list[_Row]]:
    images = [row.image for row in rows if row.image is not None]
    return torch.stack(images) if images else None, [row._replace(image=None) for row in rows]


def _names(source: Source) -> Any:
    names = source.names
    return (lambda index: "") if names is None else lambda index: names[index]


def _described(source: Source, rows: Sequence[_Row]) -> Iterator[tuple[int, str, int, str]]:
    name_of = _names(source)
    for row in rows:
        known = 0 <= row.label < len(source.classes)
        kind = source.classes[row.label] if known else ""
        yield row.number, name_of(row.number), row.label, kind


def _stem(folder: Path, name: str, number: int) -> Path:
    return folder / f"{name}.{number}"


def _join(
    encoder: Encoder, source: Source, folder: Path, parts: Sequence[_Counts], seconds: float
) -> None:
    """Put the files of all processes together, and describe them."""
    images, skipped = sum(part.images for part in parts), sum(part.skipped for part in parts)
    if not images:
        raise ConfigurationError(
            f"Expected images that can be read but none of {skipped} can."
            if skipped
            else "Expected images but got none."
        )
    num_features = max(part.widths[0] for part in parts)
    num_outputs = max(part.widths[1] for part in parts)
    stems = {
        name: [_stem(folder, name, i) for i in range(len(parts))] for name in (FEATURES, CODES)
    }
    join_dense(stems[FEATURES], num_features, folder / FEATURES, "features")
    size = {FEATURES: (folder / FEATURES).stat().st_size}
    active = None
    if encoder.projector is None:
        for path in folder.glob(f".{CODES}.*"):
            path.unlink()
    else:
        join_dense(stems[CODES], num_outputs, folder / CODES, "codes")
        active = join_csr(stems[CODES], num_outputs, folder / CODES_CSR)
        size |= {name: (folder / name).stat().st_size for name in (CODES, CODES_CSR)}
    for name in _COLUMNS:
        _join_table(folder, name, len(parts))
    if not skipped:
        (folder / SKIPPED).unlink()
    cfg = encoder.config
    mean, std = encoder.normalization
    content = {
        "checkpoint": str(encoder.checkpoint),
        "method": cfg.method,
        "backbone": cfg.backbone.name,
        "data": source.facts,
        "classes": list(source.classes),
        "transform": {"crop_size": encoder.crop_size, "mean": list(mean), "std": list(std)},
        "images": images,
        "skipped": skipped,
        "features": num_features,
        "outputs": num_outputs or None,
        "active_fraction": None if active is None else active / (images * num_outputs),
        "all_zero_rows": None if active is None else sum(p.all_zero for p in parts) / images,
        "bytes": size,
        "processes": len(parts),
        "seconds": round(seconds, 1),
        "commit": commit(),
    }
    write_json(folder / META, content)


def _join_table(folder: Path, name: str, processes: int) -> None:
    with (folder / name).open("wb") as file:
        file.write((",".join(_COLUMNS[name]) + "\r\n").encode())
        for number in range(processes):
            part = _stem(folder, name, number)
            with part.open("rb") as source:
                shutil.copyfileobj(source, file)
            part.unlink()
