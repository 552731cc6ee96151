# SPDX-License-Identifier: MIT
"""The atlas's files: the numbers of the tables, names that are harmless, and bad input."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from click.testing import CliRunner
from sklearn.metrics import mutual_info_score

from solo_plugins.__main__ import main
from solo_plugins.atlas import write_atlas
from solo_plugins.codes import Embeddings
from solo_plugins.errors import ConfigurationError

DEAD, ALWAYS = 2, 5


@pytest.fixture(scope="module")
def embeddings(make_embeddings: Callable, tmp_path_factory: pytest.TempPathFactory) -> Embeddings:
    """Return embeddings with their atlas in `atlas`."""
    folder = make_embeddings(tmp_path_factory.mktemp("atlas"))
    write_atlas(folder, images=3)
    return Embeddings(folder)


def test_outputs_csv_has_the_numbers_of_scikit_learn_and_pandas(embeddings: Embeddings) -> None:
    table = pd.read_csv(embeddings.folder / "atlas" / "outputs.csv", keep_default_na=False)
    codes, labels = embeddings.codes.toarray(), embeddings.labels
    on = pd.DataFrame(codes != 0)
    assert table["output"].tolist() == list(range(8))
    assert {k: v for k, v in enumerate(table["mark"]) if v} == {DEAD: "dead", ALWAYS: "always on"}
    np.testing.assert_allclose(table["activity"], on.mean())
    np.testing.assert_allclose(table["mean"], codes.mean(axis=0, dtype=float))
    bits = [mutual_info_score(labels, on[output]) / np.log(2) for output in on]
    np.testing.assert_allclose(table["mutual_information"], bits, atol=1e-12)
    lift = on.groupby(labels).mean()[0] / on[0].mean()
    assert table["class_1"][0] == "ape"
    assert float(table["lift_1"][0]) == pytest.approx(lift[0]) == pytest.approx(lift.max())
    strongest = np.argsort(-codes[:, 0], kind="stable")[:3]
    assert [table[f"image_{i}"][0] for i in (1, 2, 3)] == [str(place) for place in strongest]
    for column in ("class_1", "image_1", "near_1"):
        assert table[column][DEAD] == ""
    assert table["class_1"][ALWAYS] == ""


def test_images_csv_has_all_images_and_the_outputs_that_explain_them(
    embeddings: Embeddings,
) -> None:
    table = pd.read_csv(embeddings.folder / "atlas" / "images.csv")
    codes = embeddings.codes.toarray()
    assert table[["index", "name", "class"]].equals(embeddings.images[["index", "name", "class"]])
    assert table["active_outputs"].tolist() == (codes != 0).sum(axis=1).tolist()
    on = (codes != 0).mean(axis=0)
    weight = codes * -np.log(np.where(on > 0, on, 1))
    explained = weight.max(axis=1) > 0  # of the others an output that is always on is all there is
    assert explained.sum() > 20
    assert table["output_1"][explained].tolist() == weight.argmax(axis=1)[explained].tolist()
    assert (table["output_1"][~explained] == ALWAYS).all()


def _page(folder: Path) -> str:
    return (folder / "atlas" / "atlas.html").read_text()


def test_each_image_is_in_the_page_once_and_names_are_escaped(embeddings: Embeddings) -> None:
    page = _page(embeddings.folder)
    assert len(re.findall("data:image/webp", page)) == 30
    for harmful in ("<script>window", "<img src=x", "<b>/last"):
        assert harmful not in page
    assert "&lt;script&gt;window.bad" in page


def test_without_labels_there_are_no_classes(make_embeddings: Callable, tmp_path: Path) -> None:
    folder = make_embeddings(tmp_path, labelled=False)
    write_atlas(folder)
    assert "The images have no labels" in _page(folder)
    table = pd.read_csv(folder / "atlas" / "outputs.csv")
    assert table[["class_1", "lift_1", "mutual_information"]].isna().all(axis=None)


def test_a_code_with_nothing_active_is_marked(make_embeddings: Callable, tmp_path: Path) -> None:
    folder = make_embeddings(tmp_path, codes=np.zeros((3, 4)))
    assert write_atlas(folder).dead == 4
    assert pd.read_csv(folder / "atlas" / "images.csv")["active_outputs"].tolist() == [0, 0, 0]
    assert "nothing active" in _page(folder)


def test_images_that_are_gone_or_damaged_are_marked(
    make_embeddings: Callable, tmp_path: Path
) -> None:
    folder = make_embeddings(tmp_path)
    gone, damaged, *_ = sorted((tmp_path / "images" / "0").iterdir())
    gone.unlink()
    damaged.write_bytes(b"x")
    done = CliRunner().invoke(main, ["atlas", str(folder)])
    assert done.exit_code == 0, done.output
    assert "2 of 30 images are marked" in done.output
    assert "cannot be read as an image" in done.output
    page = _page(folder)
    assert len(re.findall("data:image/webp", page)) == 28
    assert 'class="t gone"' in page


@pytest.mark.parametrize(
    ("data", "match"),
    [
        ({"dataset": "cifar10", "root": "/nowhere", "split": "val"}, "cannot be read as cifar10"),
        ({"dataset": "digits", "split": "val"}, r"Image \d+ of digits has the label"),
        (None, "cannot be read as an image"),
    ],
    ids=["no data set", "another one", "unknown"],
)
def test_a_data_set_that_is_not_the_embedded_one_shows_no_wrong_image(
    data: dict | None, match: str, make_embeddings: Callable, tmp_path: Path
) -> None:
    done = write_atlas(make_embeddings(tmp_path, data=data))
    assert done.missing > 20  # of 30, by chance a digit has the label
    assert re.search(match, done.reason)


def test_images_that_have_moved_are_found(make_embeddings: Callable, tmp_path: Path) -> None:
    folder = make_embeddings(tmp_path)
    (tmp_path / "images").rename(tmp_path / "moved")
    done = CliRunner().invoke(main, ["atlas", str(folder), "--root", str(tmp_path / "moved")])
    assert done.exit_code == 0, done.output
    assert "8 outputs, 1 dead, 1 always on" in done.output
    assert "marked" not in done.output


def _few_rows(folder: Path) -> None:
    scipy.sparse.save_npz(folder / "codes.npz", scipy.sparse.csr_matrix((2, 8)))


def _not_finite(folder: Path) -> None:
    scipy.sparse.save_npz(folder / "codes.npz", scipy.sparse.csr_matrix(np.full((30, 8), np.nan)))


def _wide(folder: Path) -> None:
    scipy.sparse.save_npz(folder / "codes.npz", scipy.sparse.csr_matrix((30, 2**17)))


def _no_label(folder: Path) -> None:
    (folder / "images.csv").write_text("index,name\n0,a.png\n")


@pytest.mark.parametrize(
    ("harm", "arguments", "match"),
    [
        (lambda folder: (folder / "meta.json").unlink(), [], "`solo_plugins embed` has made"),
        (lambda folder: (folder / "codes.npz").unlink(), [], "the network has no projector"),
        (lambda folder: (folder / "images.csv").unlink(), [], "'.*images.csv' cannot be read"),
        (_no_label, [], "'.*images.csv' cannot be read"),
        (_few_rows, [], r"a code for each image.*\(2, 8\) and 30 images"),
        (_not_finite, [], "finite codes"),
        (_wide, [], "at most 16,384 outputs, .* but got 131,072"),
        (lambda folder: (folder / "atlas" / "x").mkdir(parents=True), [], "it is there already"),
        (lambda _: None, ["--images", "0"], "`images` to be at least 1 but got 0"),
    ],
)
def test_what_cannot_be_used_is_one_line_and_leaves_nothing(
    harm: Callable, arguments: list, match: str, make_embeddings: Callable, tmp_path: Path
) -> None:
    folder = make_embeddings(tmp_path)
    harm(folder)
    before = sorted(folder.rglob("*"))
    done = CliRunner().invoke(main, ["atlas", str(folder), *arguments])
    assert done.exit_code == 1
    assert len(done.output.splitlines()) == 1
    assert re.match(f"error: .*{match}", done.output)
    assert sorted(folder.rglob("*")) == before


def test_without_itables_the_extra_is_named(
    make_embeddings: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r"pip install 'solo_plugins\[atlas\]'"):
        write_atlas(make_embeddings(tmp_path))


def test_names_that_are_no_text_are_shown_with_a_mark(
    make_embeddings: Callable, tmp_path: Path
) -> None:
    folder = make_embeddings(tmp_path, codes=np.eye(3))
    table = (folder / "images.csv").read_bytes()
    (folder / "images.csv").write_bytes(table.replace(b"0.png", b"\xe9t\xe9.png"))
    done = write_atlas(folder)
    assert done.missing == 1  # there is no such file
    assert "?t?.png" in _page(folder)
    assert b"\xe9t\xe9.png" in (folder / "atlas" / "images.csv").read_bytes()
    assert json.loads((folder / "meta.json").read_text())["method"] in _page(folder)
