# SPDX-License-Identifier: MIT
"""Probes on other data sets: by hand the same, resumable, and marked where data are missing."""

import csv
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.preprocessing import StandardScaler
from torchvision.datasets import DTD, Flowers102

import solo_plugins
from solo_plugins.data.fraction import Part
from solo_plugins.errors import ConfigurationError
from solo_plugins.inference.downstream import open_splits
from solo_plugins.inference.transfer import TransferSettings, transfer
from solo_plugins.report.read import read_run
from solo_plugins.runs.folder import RunFolder, RunState
from solo_plugins.runs.lock import held
from solo_plugins.runs.transfer import TransferTable
from solo_plugins.untrusted.text import markdown

pytestmark = pytest.mark.usefixtures("methods")

CLASSES = ("ant", "bee", "cat")
# Of each class of a hand-made data set.
COUNTS = {"train": 3, "val": 2, "test": 2}


def _image(path: Path, kind: int, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(10 * kind + number).integers(0, 90, (20, 30, 3), dtype=np.uint8)
    pixels[..., kind] += 120
    Image.fromarray(pixels).save(path)


def _each() -> list[tuple[str, int, int]]:
    """List split, class and number of all images; numbers go on from split to split."""
    first = {"train": 0, "val": 3, "test": 5}
    return [
        (split, kind, first[split] + number)
        for split, count in COUNTS.items()
        for kind in range(3)
        for number in range(count)
    ]


def _write_dtd(root: Path, _: pytest.MonkeyPatch) -> None:
    folder = root / "dtd" / "dtd"
    (folder / "labels").mkdir(parents=True)
    for split, kind, number in _each():
        name = f"{CLASSES[kind]}/{number}.jpg"
        _image(folder / "images" / name, kind, number)
        with (folder / "labels" / f"{split}1.txt").open("a") as file:
            file.write(f"{name}\n")


def _write_pets(root: Path, _: pytest.MonkeyPatch) -> None:
    folder = root / "oxford-iiit-pet"
    (folder / "annotations").mkdir(parents=True)
    for split, kind, number in _each():
        name = f"{CLASSES[kind]}_{number}"
        _image(folder / "images" / f"{name}.jpg", kind, number)
        file = "test" if split == "test" else "trainval"
        with (folder / "annotations" / f"{file}.txt").open("a") as lines:
            lines.write(f"{name} {kind + 1} 1 {number}\n")


def _write_food(root: Path, _: pytest.MonkeyPatch) -> None:
    folder = root / "food-101"
    names: dict[str, dict[str, list[str]]] = {"train": {}, "test": {}}
    for split, kind, number in _each():
        name = f"{CLASSES[kind]}/{number}"
        _image(folder / "images" / f"{name}.jpg", kind, number)
        names["test" if split == "test" else "train"].setdefault(CLASSES[kind], []).append(name)
    (folder / "meta").mkdir()
    for split, by_class in names.items():
        (folder / "meta" / f"{split}.json").write_text(json.dumps(by_class))


def _write_flowers(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = root / "flowers-102"
    labels, splits = [], {"trnid": [], "valid": [], "tstid": []}
    names = {"train": "trnid", "val": "valid", "test": "tstid"}
    for number, (split, kind, _) in enumerate(_each(), 1):
        _image(folder / "jpg" / f"image_{number:05d}.jpg", kind, number)
        labels.append(kind + 1)
        splits[names[split]].append(number)
    savemat(folder / "imagelabels.mat", {"labels": labels})
    savemat(folder / "setid.mat", splits)
    files = {name: (file, None) for name, (file, _) in Flowers102._file_dict.items()}
    monkeypatch.setattr(Flowers102, "_file_dict", files)


WRITERS = {
    "dtd": _write_dtd, "pets": _write_pets, "food101": _write_food, "flowers102": _write_flowers,
}  # fmt: skip


@pytest.mark.parametrize("name", WRITERS)
def test_torchvisions_data_sets_are_opened_with_their_labels(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    WRITERS[name](tmp_path, monkeypatch)
    splits = open_splits(name, str(tmp_path), lambda image: image.size, fetch=False)
    validates = name in ("dtd", "flowers102")
    counts = {"train": 3 if validates else 5, "validation": 2 if validates else None, "test": 2}
    for split, images in splits._asdict().items():
        if counts[split] is None:
            assert images is None
            continue
        assert np.bincount(images.labels).tolist() == [counts[split]] * 3
        read = [images.dataset[place] for place in range(len(images.labels))]
        assert [label for _, label in read] == images.labels.tolist()
        assert {size for size, _ in read} == {(30, 20)}


@pytest.fixture
def run(
    shared_run: Path,
    shared_model: solo_plugins.Encoder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """Return a run's folder of this test's own, whose network is loaded already."""

    def load(path: Path) -> solo_plugins.Encoder:
        monkeypatch.setattr(shared_model, "checkpoint", path / "last.ckpt")
        return shared_model

    monkeypatch.setattr("solo_plugins.inference.transfer.load", load)
    # what a good C is, is not the question here
    monkeypatch.setattr("solo_plugins.evaluation.probe._COARSE", (0.01, 1.0))
    return shutil.copytree(shared_run, tmp_path / "run")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with small textures and pets."""
    for name in ("dtd", "pets"):
        WRITERS[name](tmp_path / "data", monkeypatch)
    return tmp_path / "data"


def _rows(run: Path) -> list[dict[str, str]]:
    (path,) = run.glob("transfer-*.csv")
    with path.open() as file:
        return list(csv.DictReader(file))


@torch.no_grad()
def _by_hand(
    model: solo_plugins.Encoder, root: Path, name: str, shots: int, draw: int
) -> np.ndarray:
    """Return labels and predictions of scikit-learn's classifier on the codes, at C = 1."""
    found = []
    splits = open_splits(name, str(root), model.transform, fetch=False)
    for images in (splits.train, splits.test):
        places = Part(shots).places(images.labels, draw=draw)
        places = places if images is splits.train else images.places
        batch = torch.stack([images.dataset[place][0] for place in places])
        found += [model.encode(batch).numpy(), images.labels[places]]
    scaler = StandardScaler().fit(found[0])
    classifier = LogisticRegression(max_iter=1000).fit(scaler.transform(found[0]), found[1])
    return np.stack([found[3], classifier.predict(scaler.transform(found[2]))])


@pytest.mark.parametrize("name", ["digits", "pets", "cifar10", "cifar100"])
def test_a_cell_is_scikit_learns_logistic_regression_on_the_drawn_images(
    name: str,
    run: Path,
    root: Path,
    shared_model: solo_plugins.Encoder,
    downloaded: Callable[[str, Path], None],
) -> None:
    if name.startswith("cifar"):
        downloaded(name, root)
    transfer(run, TransferSettings([name], ["1"], draws=2, root=str(root), accelerator="cpu"))
    rows = [row for row in _rows(run) if row["features"] == "projector"]
    assert [row["draw"] for row in rows] == ["0", "1"]
    assert {row["chosen_by"] for row in rows} == {"fixed"}
    for draw, row in enumerate(rows):
        labels, predicted = _by_hand(shared_model, root, name, 1, draw)
        assert float(row["top1"]) == pytest.approx(100 * np.mean(labels == predicted))
        mean = 100 * balanced_accuracy_score(labels, predicted)
        assert float(row["per_class"]) == pytest.approx(mean)
        shown = "per_class" if name == "pets" else "top1"
        assert (row["accuracy"], row["metric"] == "mean per class") == (row[shown], name == "pets")


def test_c_is_chosen_on_as_many_images_of_a_validation_split_as_are_trained_on(
    run: Path, root: Path
) -> None:
    transfer(run, TransferSettings(["dtd"], ["1", "all"], draws=1, root=str(root)))
    rows = [row for row in _rows(run) if row["features"] == "backbone"]
    assert {row["chosen_by"] for row in rows} == {"validation split"}
    numbers = ("train_images", "validation_images", "test_images")
    assert [[int(row[number]) for number in numbers] for row in rows] == [[3, 3, 6], [9, 6, 6]]


def _contents(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in run.glob("transfer-*")}


def test_an_interrupted_table_becomes_the_same_and_a_done_one_is_not_measured_again(
    run: Path, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = shutil.copytree(run, tmp_path / "whole")
    settings = TransferSettings(["pets", "dtd"], ["1"], draws=1, root=str(root))
    transfer(whole, settings)
    add, added = TransferTable.add, []

    def killed(self: TransferTable, cell: Any) -> None:
        if len(added) == 1:
            raise KeyboardInterrupt
        added.append(cell)
        add(self, cell)

    with monkeypatch.context() as patched:
        patched.setattr(TransferTable, "add", killed)
        with pytest.raises(KeyboardInterrupt):
            transfer(run, settings)
    assert [row["dataset"] for row in _rows(run)] == ["pets"] * 2
    transfer(run, settings)
    assert _contents(run) == _contents(whole)
    monkeypatch.setattr("solo_plugins.inference.transfer.probe", None)
    transfer(run, settings)
    assert _contents(run) == _contents(whole)
    assert len(_contents(run)) == 3


def test_another_checkpoint_has_a_table_of_its_own(run: Path, root: Path) -> None:
    settings = TransferSettings(["pets"], ["1"], draws=1, root=str(root))
    first = transfer(run, settings)
    before = _contents(run)
    checkpoint = torch.load(run / "last.ckpt")
    torch.save({**checkpoint, "epoch": 7}, run / "last.ckpt")
    second = transfer(run, settings)
    assert first != second
    assert {name: _contents(run)[name] for name in before} == before
    folder = RunFolder(run)
    folder.write_summary({"epochs": 2})
    folder.write_state(RunState("finished"))
    torch.save(checkpoint, run / "last.ckpt")  # the second table is newer, and not its
    read = read_run(run)
    found = {row.features: row.acc1 for row in read.elsewhere}
    (summary,) = TransferTable(first.with_suffix(".json")).summaries()
    assert found == {name: mean for name, (mean, _) in summary.accuracies.items()}
    assert read.unreadable == []
    first.with_suffix(".json").unlink()
    (note,) = read_run(run).unreadable
    assert note.reason == "it is of another checkpoint than last.ckpt is now"


def _no_data(root: Path, monkeypatch: pytest.MonkeyPatch) -> bool:
    shutil.rmtree(root / "dtd")
    return False


def _no_labels(root: Path, monkeypatch: pytest.MonkeyPatch) -> bool:
    (root / "dtd" / "dtd" / "labels" / "val1.txt").unlink()
    return False


def _no_network(root: Path, monkeypatch: pytest.MonkeyPatch) -> bool:
    shutil.rmtree(root / "dtd")
    monkeypatch.setattr(DTD, "_URL", "http://127.0.0.1:9/dtd.tar.gz")  # the discard port
    return True


def _damaged(root: Path, monkeypatch: pytest.MonkeyPatch) -> bool:
    (root / "dtd" / "dtd" / "images" / "ant" / "5.jpg").write_bytes(b"no image")
    return False


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (_no_data, r"not found in '.*data' \(`--download` fetches it\): Dataset not found"),
        (_no_labels, r"not found in .*val1.txt"),
        (_no_network, r"cannot be downloaded to '.*data': .*refused"),
        (_damaged, r"an image cannot be read: .*5.jpg"),
    ],
)
def test_what_is_missing_is_a_marked_cell_until_it_is_there(
    spoil: Callable, match: str, run: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = shutil.copytree(root, root.with_name("kept"))
    download = spoil(root, monkeypatch)
    settings = TransferSettings(["dtd"], ["1"], draws=1, root=str(root), download=download)
    table = transfer(run, settings)
    (marked,) = json.loads(table.with_suffix(".json").read_text())["cells"]
    assert re.search(match, marked["reason"])
    assert markdown(marked["reason"]) in table.read_text()
    assert _rows(run) == []
    transfer(run, TransferSettings(["dtd"], ["1"], draws=1, root=str(kept)))
    assert markdown(marked["reason"]) not in table.read_text()
    assert len(_rows(run)) == 2


def test_more_shots_than_a_class_has_are_marked_and_the_others_measured(
    run: Path, root: Path
) -> None:
    table = transfer(run, TransferSettings(["pets"], ["1", "6", "50%"], draws=1, root=str(root)))
    assert {row["shots"] for row in _rows(run)} == {"1", "50%"}
    assert "| pets | 6 |  | 0 | Expected each class to have 6 images" in table.read_text()
    assert "number 0 has 5" in table.read_text()


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"datasets": ["pet"]}, r"`datasets` to be one of cifar10, .* Did you mean `pets`"),
        ({"datasets": ["custom"]}, r"`datasets` to be one of .* got 'custom'"),
        ({"shots": ["1", "0"]}, r"`shots` to list positive integers.* got '0'"),
        ({"shots": [""]}, r"`shots` to list positive integers.* got ''"),
        ({"draws": 0}, r"`draws` to be at least 1 but got 0"),
        ({"root": None}, r"`--root` to be the folder .* got None"),
        ({"root": "nowhere"}, r"`--root` to be the folder .* got 'nowhere'"),
    ],
    ids=str,
)
def test_what_cannot_be_is_one_error_at_the_start_and_writes_nothing(
    settings: dict, match: str, run: Path
) -> None:
    before = sorted(run.iterdir())
    with pytest.raises(ConfigurationError, match=match):
        transfer(run, TransferSettings(**settings))
    assert sorted(run.iterdir()) == before


def test_a_folder_without_a_checkpoint_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="a run's folder with a checkpoint"):
        transfer(tmp_path, TransferSettings(["digits"]))
    assert list(tmp_path.iterdir()) == []


def test_two_at_once_are_refused(run: Path, root: Path) -> None:
    settings = TransferSettings(["pets"], ["1"], draws=1, root=str(root))
    table = transfer(run, settings)
    before = _contents(run)
    with held(table.with_suffix(".lock")), pytest.raises(ConfigurationError, match="works in it"):
        transfer(run, settings)
    table.with_suffix(".lock").unlink()
    assert _contents(run) == before


def test_a_table_that_cannot_be_read_is_named_and_left(run: Path, root: Path) -> None:
    settings = TransferSettings(["pets"], ["1"], draws=1, root=str(root))
    path = transfer(run, settings).with_suffix(".json")
    path.write_text('{"identity": {}, "cells": [{"dataset": 1}]}')
    with pytest.raises(ConfigurationError, match=f"{path.name}' cannot be used: it is no table"):
        transfer(run, settings)
    assert '"dataset": 1' in path.read_text()


def test_the_table_has_means_and_sample_deviations(run: Path, root: Path) -> None:
    settings = TransferSettings(["pets"], ["1"], draws=3, root=str(root))
    table = transfer(run, settings).read_text()
    values = [float(row["accuracy"]) for row in _rows(run) if row["features"] == "backbone"]
    wanted = (
        f"| pets | 1 | mean per class | 3 | {np.mean(values):.2f} ± {np.std(values, ddof=1):.2f} |"
    )
    assert wanted in table


def test_the_report_shows_the_newest_table_and_names_one_that_it_cannot_read(
    run: Path, root: Path
) -> None:
    path = transfer(run, TransferSettings(["pets"], ["1"], draws=2, root=str(root)))
    folder = RunFolder(run)
    folder.write_summary({"epochs": 2})
    folder.write_state(RunState("finished"))
    (summary,) = TransferTable(path.with_suffix(".json")).summaries()
    found = {row.features: (row.acc1, row.spread) for row in read_run(run).elsewhere}
    assert found == summary.accuracies
    path.with_suffix(".json").write_text("{}")
    (note,) = read_run(run).unreadable
    assert note.reason.startswith("cannot be used: it is no table of transfer")
