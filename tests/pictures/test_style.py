# SPDX-License-Identifier: MIT
"""The look that pictures share: what is printed can be read, told apart, and made again."""

from pathlib import Path

import matplotlib as mpl
import pytest
from matplotlib import font_manager
from PIL import Image

from solo_plugins.pictures.style import (
    KINDS,
    WIDTHS,
    legend_below,
    looks,
    panels,
    save,
    shades,
    theme,
    typeset,
)


@pytest.mark.parametrize("number", [8, 88])
def test_no_two_methods_look_the_same(number: int) -> None:
    found = looks(map(str, range(number))).values()
    assert len(set(found)) == number
    assert len({look.color for look in found}) == 8


def test_shades_are_of_one_colour_and_differ() -> None:
    color = looks(["a"])["a"].color
    assert shades(color, 1) == [color]
    lightness = [sum(shade[:3]) for shade in shades(color, 5)]
    assert lightness == sorted(set(lightness))


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("p=1, μ=-1", "p = 1, μ = −1"),
        ("p = 1, μ = -.5", "p = 1, μ = −.5"),
        ("lr=1e-05", "lr = 1e−05"),
        ("resnet-18, vit-s-4", "resnet-18, vit-s-4"),
        ("two\nlines", "two lines"),
    ],
)
def test_labels_have_true_minus_signs(text: str, printed: str) -> None:
    assert typeset(text) == printed
    assert typeset(printed) == printed


def test_a_picture_is_written_in_all_kinds_at_its_width(tmp_path: Path) -> None:
    def draw(folder: Path) -> list[bytes]:
        with theme():
            figure, (panel,) = panels(1, WIDTHS["single"], columns=1, height=1)
            (line,) = panel.plot([-1, 0])
            legend_below(figure, {"a method": line})
            folder.mkdir()
            return [path.read_bytes() for path in save(figure, folder, "name")]

    first = draw(tmp_path / "1")
    starts = zip(first, (b"\x89PNG", b"%PDF", b"<?xml"), strict=True)
    assert all(content.startswith(start) for content, start in starts)
    assert b">a method<" in first[2]  # text, not shapes
    with Image.open(tmp_path / "1" / "name.png") as image:
        assert image.width == round(300 * WIDTHS["single"])
    # when it is drawn is not in it
    assert draw(tmp_path / "2") == first
    assert [path.name for path in sorted((tmp_path / "2").iterdir())] == sorted(
        f"name.{kind}" for kind in KINDS
    )


def test_fonts_with_east_asian_signs_are_asked_if_they_are_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = ["Yu Gothic", "DejaVu Sans", "Noto Sans CJK JP"]
    monkeypatch.setattr(font_manager, "get_font_names", lambda: known)
    with theme():
        assert mpl.rcParams["font.family"] == ["sans-serif", "Noto Sans CJK JP", "Yu Gothic"]
    assert "Yu Gothic" not in mpl.rcParams["font.family"]
