# SPDX-License-Identifier: MIT
"""Nearest neighbours in a pretrained network's features: what ``main_knn.py`` calls."""

__all__ = ["KNNRow", "KNNSettings", "classify", "knn"]

import itertools
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning.pytorch import seed_everything
from omegaconf import DictConfig
from torch import Tensor
from torch.nn.functional import normalize

from solo_plugins.args.evaluation import parse_knn_cfg
from solo_plugins.data import LabelledDataModule
from solo_plugins.errors import ConfigurationError
from solo_plugins.evaluation.features import describe_outputs, device_for, extract
from solo_plugins.evaluation.network import build
from solo_plugins.evaluation.results import checkpoint_line, described, result_path
from solo_plugins.framework import hits, nearest_neighbours, vote
from solo_plugins.metrics import EffectiveRank
from solo_plugins.registry import register
from solo_plugins.report.read import KNN
from solo_plugins.runs.files import RunFileError
from solo_plugins.runs.folder import RunFolder
from solo_plugins.runs.provenance import commit
from solo_plugins.runs.writable import check_writable
from solo_plugins.training.launch import check_alone
from solo_plugins.training.progress import duration
from solo_plugins.training.trainer import in_memory_format, say


class KNNSettings(NamedTuple):
    """The combinations that are evaluated.

    Args:
        k: numbers of neighbours, positive.
        temperature: of the cosine's votes, positive.
        distance: ``cosine``, ``euclidean`` or both.
        max_distances: the largest number of distances that are held at once.
    """

    k: Sequence[int]
    temperature: Sequence[float]
    distance: Sequence[str]
    max_distances: int = 5_000_000


class KNNRow(NamedTuple):
    """The accuracy of one combination.

    Args:
        features: ``backbone`` or ``projector``.
        k: the number of neighbours.
        temperature: of the votes, None for Euclidean distances, whose votes weigh 1 / distance.
        distance: ``cosine`` or ``euclidean``.
        acc1: percent of samples whose class has most votes.
        acc5: percent of samples whose class is among the five with most votes.
    """

    features: str
    k: int
    temperature: float | None
    distance: str
    acc1: float
    acc5: float


def knn(cfg: DictConfig) -> dict[str, Any]:
    """Classify validation images by their nearest training images.

    The result is left in the pretraining run's folder.

    Args:
        cfg: the configuration as composed by hydra.

    Returns:
        What was written: ``results``, of the backbone ``features`` and of the projector
        ``outputs``.

    Raises:
        ConfigurationError: if the configuration cannot work; nothing is written then.
    """
    register()
    check_alone("kNN")
    cfg, pretrained = parse_knn_cfg(cfg)
    check_writable(pretrained.folder.path, "pretrained_feature_extractor")
    names = list(dict.fromkeys(cfg.features))
    what = described(pretrained, cfg)  # before it may change
    model = build(pretrained, cfg, projector="projector" in names)
    seed_everything(0, verbose=False)
    data = LabelledDataModule(cfg, augment=False)
    data.prepare_data()
    for note in data.notes:
        say(note)
    numbers = _possible(cfg.k, data.num_train_images)
    device = device_for(cfg.accelerator)
    say(f"Running on {device.type}.")
    model = in_memory_format(model, cfg).to(device)
    started = time.monotonic()
    train, val = (
        extract(model, data.every_image(train=train), names, device) for train in (True, False)
    )
    images = f"{len(train.targets):,} training and {len(val.targets):,} validation images"
    say(f"Features of {images}: {duration(time.monotonic() - started)}.")
    settings = KNNSettings(numbers, cfg.temperature, cfg.distance, cfg.max_distances)
    rows = [
        row
        for name in names
        for row in classify(
            (train.by_name[name].to(device), train.targets.to(device)),
            (val.by_name[name], val.targets),
            settings,
            features=name,
        )
    ]
    result: dict[str, Any] = {"results": [row._asdict() for row in rows]}
    if "backbone" in names:
        features = val.by_name["backbone"]
        rank = EffectiveRank(features.size(1))
        rank.update(features)
        result["features"] = {"dim": features.size(1), "effective_rank": rank.compute().item()}
    if "projector" in names:
        target = (getattr(model, name, None) for name in ("target_l0", "target"))
        result["outputs"] = describe_outputs(val.by_name["projector"], *target)
    path = result_path(pretrained, cfg, "knn")
    written = _joined(pretrained.folder, path, {**result, **what})
    # whatever becomes of the file
    _print(rows, result.get("outputs"), checkpoint_line(pretrained))
    pretrained.folder.write_evaluation(path, {**written, "commit": commit()})
    say(f"Result: {path}")
    return result


def _joined(folder: RunFolder, path: Path, now: dict[str, Any]) -> dict[str, Any]:
    """Keep what an earlier evaluation of the same checkpoint on the same images measured beside."""
    place = ("features", "distance", "k", "temperature")
    try:
        before = folder.read_evaluation(path) or {}
        if any(before.get(key) != now[key] for key in ("data", "transform", "checkpoint")):
            return now
        rows = {tuple(row[key] for key in place): row for row in before["results"]}
    except (RunFileError, KeyError, TypeError, AttributeError):  # what is there is no result
        return now
    rows |= {tuple(row[key] for key in place): row for row in now["results"]}
    return {**before, **now, "results": list(rows.values())}


@torch.inference_mode()
def classify(
    train: tuple[Tensor, Tensor],
    test: tuple[Tensor, Tensor],
    settings: KNNSettings,
    *,
    features: str = "backbone",
) -> list[KNNRow]:
    """Classify test features by their nearest training features.

    Distances are computed once for each kind, for as many test features at a time as
    ``max_distances`` allows, and sorted out once for the largest k.

    Args:
        train: features (M, D) and labels (M,), on the device to compute on.
        test: features (N, D) and labels (N,), on any device.
        settings: what to evaluate; no k above M.
        features: what the rows are to be called.

    Returns:
        A row for each distance, k and, for the cosine, temperature.

    Example:
        >>> points, labels = torch.tensor([[0.0, 1.0], [1.0, 0.0]]), torch.tensor([0, 1])
        >>> settings = KNNSettings([1], [0.1], ["cosine"])
        >>> (row,) = classify((points, labels), (points, labels), settings)
        >>> row.acc1
        100.0
    """
    bank, labels = train
    num_classes = int(torch.maximum(labels.max(), test[1].max().to(labels.device))) + 1
    rows = []
    for distance in settings.distance:
        temperatures = list(settings.temperature) if distance == "cosine" else [None]
        combinations = list(itertools.product(settings.k, temperatures))
        found = torch.zeros(len(combinations), 2, dtype=torch.long)
        own = normalize(bank) if distance == "cosine" else bank
        chunk = max(1, settings.max_distances // len(bank))
        for part, targets in zip(test[0].split(chunk), test[1].split(chunk), strict=True):
            query, targets = part.to(bank.device), targets.to(bank.device)
            query = normalize(query) if distance == "cosine" else query
            nearness, index = nearest_neighbours(query, own, max(settings.k), distance)
            neighbours = labels[index]
            for number, (k, temperature) in enumerate(combinations):
                votes = vote(
                    nearness[:, :k], neighbours[:, :k], num_classes, temperature=temperature
                )
                found[number] += torch.tensor(hits(votes, targets))
        percent = (100 * found.double() / len(test[1])).tolist()
        rows += [
            KNNRow(features, k, temperature, distance, *accuracies)
            for (k, temperature), accuracies in zip(combinations, percent, strict=True)
        ]
    return rows


def _possible(numbers: Sequence[int], num_images: int) -> list[int]:
    """Leave out numbers of neighbours that there are not, and say so."""
    possible = [k for k in numbers if k <= num_images]
    if not possible:
        raise ConfigurationError(
            f"Expected `k` to hold a number up to that of the training images, {num_images}, but "
            f"got {list(numbers)}."
        )
    if left_out := [k for k in numbers if k > num_images]:
        say(f"There are {num_images} training images: k = {_listed(left_out)} is left out.")
    return possible


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def _print(rows: Sequence[KNNRow], described: dict[str, Any] | None, checkpoint: str) -> None:
    say(f"{'features':<10} {'distance':<10} {'k':>5} {'temperature':>11} {'top 1':>7} {'top 5':>7}")
    for row in rows:
        temperature = "" if row.temperature is None else f"{row.temperature:g}"
        say(
            f"{row.features:<10} {row.distance:<10} {row.k:>5} {temperature:>11} "
            f"{row.acc1:>7.2f} {row.acc5:>7.2f}"
        )
    usual = [row for row in rows if all(getattr(row, key) == KNN[key] for key in KNN)]
    if usual:
        accuracies = ", ".join(f"{row.features} {row.acc1:.1f} %" for row in usual)
        where = f"k = {KNN['k']}, {KNN['distance']}, temperature {KNN['temperature']}"
        say(f"kNN ({where}; the report's): {accuracies}")
    if described is not None:
        l0 = described["target_l0"]
        target = "" if l0 is None else f" (the target has {100 * l0:.1f} %)"
        say(f"Active outputs: {100 * described['l0']:.1f} %{target}")
    say(checkpoint)
