# SPDX-License-Identifier: MIT
"""Planes against scikit-learn's judges, and pictures of embeddings made by hand."""

import json
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from click.testing import CliRunner
from PIL import Image
from safetensors.numpy import save_file
from sklearn.manifold import trustworthiness

from solo_plugins.__main__ import main
from solo_plugins.codes.space import write_space
from solo_plugins.errors import ConfigurationError
from solo_plugins.pictures import space
from solo_plugins.pictures.space import draw_planes, plane, some


def _clusters(dim: int = 12) -> np.ndarray:
    """Rows in six directions, more than two numbers can hold apart."""
    generator = np.random.default_rng(0)
    centres = 4 * np.eye(dim)[np.arange(60) % 6]
    return np.maximum(centres + generator.normal(size=(60, dim)), 0).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of 60 embeddings, a third of them without a class."""
    made = tmp_path_factory.mktemp("embeddings")
    rows = _clusters()
    save_file({"features": rows[:, :5].copy()}, made / "features.safetensors")
    scipy.sparse.save_npz(made / "codes.npz", scipy.sparse.csr_matrix(rows))
    label = np.arange(60) % 3 - 1
    names = [("", "ape", "10")[place] for place in label + 1]
    table = pd.DataFrame({"index": np.arange(60), "name": "", "label": label, "class": names})
    table.to_csv(made / "images.csv", index=False)
    (made / "meta.json").write_text(json.dumps({"outputs": 12}))
    return made


def test_pca_is_the_singular_vectors_of_the_centred_rows() -> None:
    rows = _clusters().astype(np.float64)
    found = plane(scipy.sparse.csr_matrix(rows), "pca")
    u, s, _ = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)
    # up to the signs, which are free
    np.testing.assert_allclose(np.abs(found), np.abs(u[:, :2] * s[:2]), rtol=1e-3, atol=1e-3)


@pytest.mark.torture  # numba compiles for half a minute
def test_umap_keeps_neighbours_better_than_pca_and_repeats() -> None:
    rows = _clusters()
    found = plane(rows, "umap", seed=3)
    np.testing.assert_array_equal(found, plane(scipy.sparse.csr_matrix(rows), "umap", seed=3))
    kept = {
        method: trustworthiness(rows, points, n_neighbors=5, metric="cosine")
        for method, points in {"umap": found, "pca": plane(rows, "pca")}.items()
    }
    assert kept["umap"] > kept["pca"]
    for odd in (rows[:4], np.ones((9, 3)), np.zeros((9, 3)), rows[:, :1]):  # few, equal, one number
        assert np.isfinite(plane(odd, "umap")).all()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.ones((3, 2)), "at least 4 images to draw but got 3"),
        (np.full((5, 2), np.nan), "to be finite"),
    ],
)
def test_rows_that_cannot_be_drawn_are_refused(rows: np.ndarray, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        plane(rows, "pca")


@pytest.mark.parametrize(("number", "most"), [(0, 5), (3, 5), (5, 5), (11, 5), (10_000, 7)])
def test_some_are_evenly_spaced(number: int, most: int) -> None:
    found = some(number, most)
    assert len(found) == min(number, most)
    assert found.tolist() == sorted({*found.tolist()} & {*range(number)})
    if len(found) > 1:
        assert np.ptp(np.diff(found)) <= 1


@pytest.mark.parametrize("kind", ["png", "pdf", "svg"])
def test_a_picture_and_its_coordinates_are_written(kind: str, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / f"space.{kind}"
    found = write_space(folder, out, methods=["pca"], most=20)
    assert (found.picture, found.images, found.of) == (out, 20, 60)
    assert out.read_bytes().startswith({"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}[kind])
    table = pd.read_csv(found.table, keep_default_na=False)
    assert table["index"].tolist() == [*range(0, 60, 3)]
    wanted = plane(_clusters()[::3, :5], "pca")
    given = table[["backbone_pca_x", "backbone_pca_y"]].to_numpy()
    np.testing.assert_allclose(given, wanted, rtol=1e-4, atol=1e-4)  # six digits


@pytest.mark.parametrize("names", [list("0123456789"), [f"a_long_name_{i}" for i in range(20)]])
@pytest.mark.parametrize("methods", [["pca"], ["pca", "umap"]])
def test_the_legend_names_every_class_within_the_picture(
    names: list[str], methods: list[str]
) -> None:
    points = np.random.default_rng(0).normal(size=(len(names), 2))
    planes = {(space, method): points for space in ("backbone", "codes") for method in methods}
    figure = draw_planes(planes, names, "title")
    figure.canvas.draw()
    (legend,) = figure.legends
    box = legend.get_window_extent()
    assert sorted(text.get_text() for text in legend.get_texts()) == sorted(names)
    assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
    assert figure.bbox.y0 <= box.y0 < box.y1 <= figure.bbox.y1


def test_classes_have_colours_of_their_own(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "space.png"
    write_space(folder, out, methods=["pca"])
    with Image.open(out) as image:
        colours = {colour for _, colour in image.convert("RGB").getcolors(1 << 20) or []}
    assert len(colours) > 3


def test_the_command_says_what_it_wrote(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.svg"
    run = CliRunner().invoke(main, ["umap", str(folder), "--pca", "--out", str(out)])
    assert run.exit_code == 0, run.output
    lines = [f"Picture: {out}, 60 of 60 images", f"Coordinates: {tmp_path / 'x.csv'}"]
    assert run.output.splitlines() == lines


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--out", "space.gif"], "a file that ends with one of .png, .pdf, .svg"),
        (["--images", "3", "--pca"], "`images` to be at least 4 but got 3"),
    ],
)
def test_a_setting_that_cannot_work_is_one_line(
    args: list[str], message: str, folder: Path
) -> None:
    run = CliRunner().invoke(main, ["umap", str(folder), *args])
    assert run.exit_code == 1
    assert message in str(run.exception)
    assert not (folder / "space.png").exists()


def test_without_umap_learn_it_says_what_to_install(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = ModuleSpec("umap", None)  # of the folder that an uninstall may leave
    for found in (None, empty):
        monkeypatch.setattr(space.importlib.util, "find_spec", lambda name, found=found: found)
        with pytest.raises(ConfigurationError, match=r"pip install 'solo_plugins\[umap\]'"):
            write_space(folder)
