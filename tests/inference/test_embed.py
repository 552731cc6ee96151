# SPDX-License-Identifier: MIT
"""Embeddings of data sets and folders: all images once, in order, in files that others read."""

import json
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from PIL import Image
from safetensors.numpy import load_file

import solo_plugins
from solo_plugins.codes import Embeddings
from solo_plugins.data.digits import Digits
from solo_plugins.errors import ConfigurationError
from solo_plugins.inference.embed import EmbedSettings, embed

pytestmark = pytest.mark.usefixtures("methods")


@pytest.fixture(scope="session")
def digits(
    shared_run: Path, registered: Callable, tmp_path_factory: pytest.TempPathFactory
) -> Embeddings:
    """Return embeddings of the 360 test digits."""
    with registered():
        return embed(shared_run, tmp_path_factory.mktemp("embed") / "digits")


@torch.no_grad()
def _wanted(model: solo_plugins.Encoder, images: list) -> tuple[np.ndarray, np.ndarray]:
    batch = torch.stack([model.transform(image) for image in images])
    return model(batch).numpy(), model.encode(batch).numpy()


def test_a_data_set_is_encoded_in_order(
    digits: Embeddings, shared_model: solo_plugins.Encoder
) -> None:
    test = Digits(train=False)
    features, codes = _wanted(shared_model, [test[i][0] for i in range(len(test))])
    # float32; batches of another size may be summed in another order
    np.testing.assert_allclose(digits.features, features, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(digits.codes.toarray(), codes, rtol=1e-4, atol=1e-5)
    dense = load_file(digits.folder / "codes.safetensors")["codes"]
    np.testing.assert_array_equal(
        scipy.sparse.load_npz(digits.folder / "codes.npz").todense(), dense
    )
    np.testing.assert_array_equal(digits.labels, test.targets)
    assert digits.images["index"].tolist() == list(range(360))


def test_meta_says_what_was_encoded_and_its_bytes(digits: Embeddings, shared_run: Path) -> None:
    meta = digits.meta
    assert (meta["images"], meta["skipped"], meta["outputs"]) == (360, 0, 16)
    assert meta["data"] == {"dataset": "digits", "split": "val", "root": None}
    assert Path(meta["checkpoint"]) == shared_run / "last.ckpt"
    active = digits.codes.nnz
    assert meta["active_fraction"] == pytest.approx(active / (360 * 16))
    # headers and row pointers besides
    assert 0 <= meta["bytes"]["codes.safetensors"] - 4 * 360 * 16 < 256
    assert 0 <= meta["bytes"]["codes.npz"] - 8 * active - 4 * 361 < 2048
    assert not [path.name for path in digits.folder.iterdir() if path.name.startswith(".")]


def _images(folder: Path, *names: str) -> None:
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 16), (40 * number, 10, 200)).save(path)


def test_a_folder_is_encoded_and_what_cannot_be_read_is_skipped_and_named(
    shared_run: Path, shared_model: solo_plugins.Encoder, tmp_path: Path
) -> None:
    images = tmp_path / "images"
    _images(images, "ape/1.png", "ape/2.png", "bee/1.png", 'bee/a, "b".png')
    (images / "ape" / "1.png").write_bytes(b"")
    found = embed(shared_run, tmp_path / "out", str(images), EmbedSettings(batch_size=1))
    assert found.images["name"].tolist() == ["ape/2.png", "bee/1.png", 'bee/a, "b".png']
    assert found.images["class"].tolist() == ["ape", "bee", "bee"]
    assert found.labels.tolist() == [0, 1, 1]
    assert found.meta["skipped"] == 1
    (skipped,) = pd.read_csv(found.folder / "skipped.csv").to_dict("records")
    assert (skipped["index"], skipped["name"]) == (0, "ape/1.png")
    assert "cannot be read" in skipped["reason"]
    kept = [Image.open(images / name) for name in found.images["name"]]
    features, _ = _wanted(shared_model, kept)
    np.testing.assert_allclose(found.features, features, rtol=1e-4, atol=1e-5)


def test_images_without_classes_have_no_label(shared_run: Path, tmp_path: Path) -> None:
    _images(tmp_path / "flat", "b.png", "a.png")
    found = embed(shared_run, tmp_path / "out", str(tmp_path / "flat"))
    assert found.images["name"].tolist() == ["a.png", "b.png"]
    assert found.images["class"].tolist() == ["", ""]
    assert found.labels.tolist() == [-1, -1]


def test_a_network_without_a_projector_leaves_features_alone(
    shared_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = solo_plugins.load(shared_run)
    model.projector = None
    monkeypatch.setattr("solo_plugins.inference.embed.load", lambda _: model)
    _images(tmp_path / "flat", "a.png")
    found = embed(shared_run, tmp_path / "out", str(tmp_path / "flat"))
    assert found.features.shape == (1, 32)
    with pytest.raises(ConfigurationError, match="the network has no projector"):
        _ = found.codes
    names = {path.name for path in found.folder.iterdir()}
    assert names == {"features.safetensors", "images.csv", "meta.json"}


def _empty(folder: Path) -> dict[str, Any]:
    folder.mkdir()
    return {"data": str(folder)}


def _unreadable(folder: Path) -> dict[str, Any]:
    folder.mkdir()
    (folder / "a.png").write_bytes(b"no image")
    return {"data": str(folder)}


def _strict(folder: Path) -> dict[str, Any]:
    return {**_unreadable(folder), "settings": EmbedSettings(strict=True)}


@pytest.mark.parametrize(
    ("given", "match"),
    [
        (_empty, r"`data` to hold images.* with none"),
        (_unreadable, r"images that can be read but none of 1 can"),
        (_strict, r"a\.png' cannot be read as an image"),
        (lambda _: {"data": "digit"}, r"one of cifar10.* but got 'digit'. Did you mean `digits`"),
        (lambda _: {"data": "stl10"}, r"`--root` to be the folder of stl10"),
        (
            lambda folder: {"data": "cifar10", "settings": EmbedSettings(root=str(folder))},
            r"to hold cifar10 but: Dataset not found",
        ),
    ],
)
def test_what_cannot_be_encoded_is_one_error_and_leaves_nothing(
    given: Callable, match: str, shared_run: Path, tmp_path: Path
) -> None:
    arguments = given(tmp_path / "images")
    with pytest.raises(ConfigurationError, match=match):
        embed(shared_run, tmp_path / "out", **arguments)
    assert {path.name for path in tmp_path.iterdir()} <= {"images"}


@pytest.mark.parametrize("name", ["batch_size", "workers"])
def test_a_setting_below_its_least_is_an_error(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"`{name}` to be at least . but got -1"):
        EmbedSettings(**{name: -1})


# Encodes synthetic images with a small network, and prints how far resident memory has grown after
# the first tenth, in MiB. Read from /proc: the largest size that the system keeps never falls.
_GROWTH = """
import sys, torch, solo_plugins
from pathlib import Path
from torch.utils.data import Dataset
from solo_plugins.inference import embed as module
from solo_plugins.inference.source import Source

run, out, count, seen = sys.argv[1], sys.argv[2], int(sys.argv[3]), []

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20

class Synthetic(Dataset):
    def __len__(self):
        return count
    def __getitem__(self, index):
        if index % (count // 10) == 0:
            seen.append(resident())
        return torch.full((3, 16, 16), index / count), index % 7

module.find_source = lambda *_, **__: Source(Synthetic(), None, [], {})
module.embed(run, out)
seen.append(resident())
print(max(seen) - seen[1])
"""


def _growth(run: Path, out: Path, count: int) -> float:
    command = [sys.executable, "-W", "ignore", "-c", _GROWTH, str(run), str(out), str(count)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


@pytest.mark.parametrize(
    "count",
    [
        pytest.param(3_000, id="3,000", marks=pytest.mark.torture),
        pytest.param(200_000, id="200,000", marks=pytest.mark.torture),
    ],
)
def test_memory_does_not_grow_with_the_number_of_images(
    count: int, run_below: Callable, tmp_path: Path
) -> None:
    wide = {"proj_hidden_dim": 32, "proj_output_dim": 4096}
    run = run_below(tmp_path, method_kwargs=wide)
    grown = _growth(run, tmp_path / "out", count)
    # codes alone are 47 MiB of 3,000 images, 3.1 GiB of 200,000; a batch of them is 4 MiB
    assert Embeddings(str(tmp_path / "out")).meta["images"] == count
    assert grown < 32


@pytest.mark.ddp
def test_processes_of_torchrun_share_the_images(
    digits: Embeddings, start_program: Callable, tmp_path: Path
) -> None:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    program = "from solo_plugins.__main__ import main; main()"
    command = ["-W", "ignore", "-c", program, "embed", digits.meta["checkpoint"]]
    # what torchrun sets
    place = {"WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    programs = [
        start_program(*command, "--out", str(tmp_path / "out"), RANK=rank, LOCAL_RANK=rank, **place)
        for rank in "01"
    ]
    done = [program.wait() for program in programs]
    assert [each.returncode for each in done] == [0, 0], done[0].stderr + done[1].stderr
    assert [each.stdout.count("Embeddings:") for each in done] == [1, 0]
    both = Embeddings(tmp_path / "out")
    assert (both.meta["processes"], both.meta["images"]) == (2, 360)
    assert both.images.equals(digits.images)
    np.testing.assert_allclose(both.features, digits.features, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(both.codes.toarray(), digits.codes.toarray(), rtol=1e-4, atol=1e-5)


def test_what_a_killed_process_left_is_removed_by_the_next(
    digits: Embeddings, tmp_path: Path
) -> None:
    part = tmp_path / ".out.part"
    part.mkdir()
    (part / ".features.safetensors.0.dense").write_bytes(b"half a row")
    (tmp_path / ".out.lock").touch()
    embed(digits.meta["checkpoint"], tmp_path / "out")
    assert json.loads((tmp_path / "out" / "meta.json").read_text())["images"] == 360
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_run_without_validation_images_is_encoded_on_its_training_images(
    run_below: Callable, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        (tmp_path / "images" / name).mkdir(parents=True)
        Image.effect_noise((40, 40), 50).convert("RGB").save(tmp_path / "images" / name / "0.png")
    data = {"dataset": "custom", "train_path": str(tmp_path / "images"), "num_classes": 2}
    run = run_below(tmp_path, data=data)
    found = embed(run, tmp_path / "out").meta["data"]
    assert (found["dataset"], found["split"]) == ("custom", "train")
