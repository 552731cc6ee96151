# SPDX-License-Identifier: MIT
"""Search with own images: what was embedded finds itself, by codes and by features."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from sklearn.metrics.pairwise import cosine_similarity

import solo_plugins
from solo_plugins.__main__ import main
from solo_plugins.codes import Embeddings, keep_largest
from solo_plugins.errors import ConfigurationError
from solo_plugins.inference.embed import embed
from solo_plugins.inference.picture import write_picture
from solo_plugins.inference.query import search

pytestmark = pytest.mark.usefixtures("methods")


@pytest.fixture(scope="session")
def embedded(
    shared_run: Path, registered: Callable, tmp_path_factory: pytest.TempPathFactory
) -> Embeddings:
    """Return embeddings of a folder of digits, whose files lie beside it in ``images``."""
    from solo_plugins.data.digits import Digits

    folder = tmp_path_factory.mktemp("query")
    digits = Digits(train=False)
    for number in range(30):
        image, label = digits[number]
        (folder / "images" / str(label)).mkdir(parents=True, exist_ok=True)
        image.save(folder / "images" / str(label) / f"{number}.png")
    with registered():
        return embed(shared_run, folder / "out", str(folder / "images"))


def _paths(embedded: Embeddings, *numbers: int) -> list[str]:
    root = embedded.folder.with_name("images")
    return [str(root / embedded.images["name"][number]) for number in numbers]


@pytest.mark.parametrize("by", ["codes", "features"])
def test_an_image_finds_itself_first_and_scikit_learns_order_after(
    by: str, embedded: Embeddings
) -> None:
    hits = search(embedded.folder, _paths(embedded, 3, 7), k=4, by=by)
    rows = embedded.codes if by == "codes" else embedded.features
    judge = cosine_similarity(rows[[3, 7]], rows)
    for place, number in enumerate((3, 7)):
        found = [hit for hit in hits if hit.query == _paths(embedded, number)[0]]
        assert [hit.place for hit in found] == [1, 2, 3, 4]
        assert found[0].number == number
        assert found[0].name == embedded.images["name"][number]
        assert found[0].class_name == embedded.images["class"][number]
        wanted = sorted(judge[place], reverse=True)[:4]
        assert [hit.similarity for hit in found] == pytest.approx(wanted, abs=1e-5)


def test_codes_are_cut_on_both_sides(embedded: Embeddings) -> None:
    (hit, *_) = search(embedded.folder, _paths(embedded, 5)[:1], k=3, m=2)
    cut = keep_largest(embedded.codes, 2)
    judge = cosine_similarity(cut[[5]], cut)[0]
    assert hit.similarity == pytest.approx(max(judge), abs=1e-5)


def test_an_image_with_nothing_active_is_marked(
    embedded: Embeddings, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = solo_plugins.load(embedded.meta["checkpoint"])
    torch.nn.init.constant_(model.projector[6].bias, -1e6)
    monkeypatch.setattr("solo_plugins.inference.query.load", lambda _: model)
    (hit,) = search(embedded.folder, _paths(embedded, 0))
    assert hit[1:] == (0, 0.0, -1, "", "")


def _damaged(embedded: Embeddings, folder: Path) -> dict:
    (folder / "a.png").write_bytes(b"x")
    return {"images": [str(folder / "a.png")]}


@pytest.mark.parametrize(
    ("given", "match"),
    [
        (_damaged, r"a\.png' cannot be read as an image"),
        (lambda *_: {"k": 31}, r"`k` to be from 1 to 30 but got 31"),
        (lambda *_: {"m": 17}, r"`m` to be from 1 to 16, the number of outputs, but got 17"),
        (lambda *_: {"m": 2, "by": "features"}, r"`m` to be given with codes only but got 2"),
        (lambda *_: {"by": "code"}, r"`by` to be one of codes, features but got 'code'"),
        (lambda *_: {"run": "nowhere"}, r"run's folder that exists but got 'nowhere'"),
        (lambda _, folder: {"folder": folder}, r"`solo_plugins embed` has made, with meta\.json"),
    ],
)
def test_what_cannot_be_searched_is_one_clear_error(
    given: Callable, match: str, embedded: Embeddings, tmp_path: Path
) -> None:
    arguments = {"folder": embedded.folder, "images": _paths(embedded, 0)}
    with pytest.raises(ConfigurationError, match=match):
        search(**{**arguments, **given(embedded, tmp_path)})


def test_a_damaged_file_of_embeddings_is_named(embedded: Embeddings, tmp_path: Path) -> None:
    (tmp_path / "meta.json").write_text("{}")
    (tmp_path / "codes.npz").write_bytes(b"x")
    with pytest.raises(ConfigurationError, match=r"codes\.npz' cannot be read"):
        _ = Embeddings(tmp_path).codes


def test_the_command_prints_a_table(embedded: Embeddings, tmp_path: Path) -> None:
    Image.new("RGB", (9, 9)).save(tmp_path / "own.png")
    arguments = ["search", str(embedded.folder), str(tmp_path / "own.png"), "-k", "2", "-m", "3"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    header, *lines = (line.split("\t") for line in done.output.splitlines())
    assert header == ["query", "place", "similarity", "number", "name", "class_name"]
    assert [line[1] for line in lines] == ["1", "2"]


def test_a_picture_shows_each_query_with_its_neighbours(
    embedded: Embeddings, tmp_path: Path
) -> None:
    # twice the queries are twice the rows, more neighbours more columns
    sizes = []
    for number, (images, k) in enumerate([((3,), 2), ((3, 7), 2), ((3,), 5)]):
        out = tmp_path / f"{number}.png"
        paths = _paths(embedded, *images)
        args = ["search", str(embedded.folder), *paths, "-k", str(k), "--picture", str(out)]
        run = CliRunner().invoke(main, args)
        assert run.exit_code == 0, run.output
        with Image.open(out) as picture:
            sizes.append(picture.size)
    (width, height), tall, wide = sizes
    assert tall == (width, 2 * height)
    assert wide == (2 * width, height)


def test_images_that_are_gone_are_left_out_of_the_picture_with_the_reason(
    embedded: Embeddings, tmp_path: Path
) -> None:
    hit = search(embedded.folder, _paths(embedded, 3), k=1)[0]
    own = embedded.folder.with_name("images") / hit.name
    query, kept = tmp_path / "query.png", own.read_bytes()
    query.write_bytes(kept)
    own.unlink()
    try:
        (reason,) = write_picture(
            embedded.folder, [hit._replace(query=str(query))], tmp_path / "x.svg"
        )
    finally:
        own.write_bytes(kept)
    assert str(own) in reason


def test_a_picture_of_another_kind_is_refused_before_the_search(embedded: Embeddings) -> None:
    args = ["search", str(embedded.folder), "gone.png", "--picture", "x.gif"]
    run = CliRunner().invoke(main, args)
    assert run.exit_code == 1
    assert "a file that ends with one of .png, .pdf, .svg" in str(run.exception)
