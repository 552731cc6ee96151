# SPDX-License-Identifier: MIT
"""The look that all pictures share, at the widths of a paper's columns."""

__all__ = [
    "KINDS", "WIDTHS", "Look", "fill", "legend_below", "looks", "panels", "picture_kind", "save",
    "shades", "theme", "typeset",
]  # fmt: skip

import itertools
import math
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import seaborn as sns
from matplotlib import font_manager
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from solo_plugins.errors import ConfigurationError

# Inches: the page of a paper, and one of its two columns.
WIDTHS = {"double": 6.8, "single": 3.3}
KINDS = ("png", "pdf", "svg")

# The same picture is the same file, whenever it is drawn.
_METADATA: dict[str, Any] = {"png": {}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}
# In points, as they are printed: nothing is scaled once it is drawn.
_LOOK: dict[str, Any] = {
    "font.size": 8,
    "figure.titlesize": 9,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.title_fontsize": 7,
    "lines.linewidth": 1.2,
    "lines.markersize": 4.5,
    "lines.markeredgewidth": 0.6,
    "axes.linewidth": 0.7,
    "axes.edgecolor": "0.2",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "0.9",
    "grid.linewidth": 0.6,
    "axes.unicode_minus": True,
    # No text is a formula: a run may be called anything.
    "text.parse_math": False,
    # for who saves a figure when the look is gone
    "figure.dpi": 200,
    "savefig.dpi": 300,
    # Text stays text: TrueType in PDF, which journals ask for, and letters in SVG.
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "solo_plugins",
}
# Fonts with the signs of East Asian languages, which matplotlib's own lack: those that Linux
# distributions, macOS and Windows come with. What is installed of them is asked for signs.
_EAST_ASIAN = (
    "Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans CJK TC", "Noto Sans CJK KR",
    "Noto Sans SC", "Noto Sans JP", "Noto Sans KR", "Source Han Sans", "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei", "Droid Sans Fallback", "Hiragino Sans", "PingFang SC",
    "Apple SD Gothic Neo", "Microsoft YaHei", "Yu Gothic", "Malgun Gothic",
)  # fmt: skip
# Of seaborn's ten for colour-blind people, without what is pale on white and the grey of what
# stands behind; and black.
_COLORS = (0, 3, 2, 4, 9, 1, 5)
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", "p", ">", "h")
_COLUMNS = 6  # of a legend, at most
_LETTERS = 14  # of a legend's entry, for each inch of the picture


class Look(NamedTuple):
    """How a method is drawn in every picture.

    Args:
        color: red, green and blue in [0, 1].
        marker: matplotlib's sign for it.
    """

    color: tuple[float, float, float]
    marker: str


@contextmanager
def theme() -> Iterator[None]:
    """Draw in the report's look, and leave no open figure and no changed setting behind.

    Yields:
        None. Figures that were made inside stay usable, but pyplot has forgotten them.
    """
    before = set(plt.get_fignums())
    there = set(font_manager.get_font_names())
    fonts = {"font.family": ["sans-serif", *(name for name in _EAST_ASIAN if name in there)]}
    with mpl.rc_context():
        # Colour codes belong to matplotlib as a whole and would stay changed.
        sns.set_theme(
            context="paper",
            style="whitegrid",
            palette="colorblind",
            color_codes=False,
            rc=_LOOK | fonts,
        )
        try:
            yield
        finally:
            for number in set(plt.get_fignums()) - before:
                plt.close(number)


def looks(names: Iterable[str]) -> dict[str, Look]:
    """Give names a colour and a marker each, which colour-blind people tell apart.

    Args:
        names: in the order of the legend; a repeated one counts once.

    Returns:
        The look by name. The first eight differ in colour and marker, the first 88 in one of them.

    Example:
        >>> [look.marker for look in looks(["a", "b", "a"]).values()]
        ['o', 's']
    """
    ten = sns.color_palette("colorblind", 10)
    colors = [*(ten[index] for index in _COLORS), (0.0, 0.0, 0.0)]
    pairs = zip(itertools.cycle(colors), itertools.cycle(_MARKERS), strict=False)
    unique = dict.fromkeys(names)
    return {name: Look(*pair) for name, pair in zip(unique, pairs, strict=False)}


def shades(color: Any, number: int) -> list[Any]:
    """Return shades of a colour from dark to light, the colour itself if one is asked for.

    Args:
        color: of a :class:`Look`.
        number: how many, at least 1.
    """
    if number == 1:
        return [color]
    red, green, blue = color
    dark = (red * 0.55, green * 0.55, blue * 0.55)
    light = tuple(1 - 0.5 * (1 - part) for part in color)
    return list(sns.blend_palette([dark, color, light], number))


def typeset(text: str) -> str:
    """Write a label as it is printed: with true minus signs, and spaces around equals signs.

    Args:
        text: one line or several.

    Returns:
        One line.

    Example:
        >>> typeset("p=1, μ=-1.5 (resnet-18, lr=1e-3)")
        'p = 1, μ = −1.5 (resnet-18, lr = 1e−3)'
    """
    text = re.sub(r"(?<=\w)=(?=\S)", " = ", " ".join(text.split()))
    return re.sub(r"(?<![\w.])-(?=\.?\d)|(?<=\de)-(?=\d)", "−", text)


def fill(text: str, letters: int) -> str:
    r"""Break a text into lines, a setting and its value in one.

    Args:
        text: any letters.
        letters: of a line, at most.

    Returns:
        The lines.

    Example:
        >>> fill("Rectified LpJEPA, p = 0.5", 22)
        'Rectified LpJEPA,\np = 0.5'
    """
    return textwrap.fill(text.replace(" = ", "\xa0=\xa0"), letters).replace("\xa0", " ")


def panels(number: int, width: float, *, columns: int, height: float) -> tuple[Figure, list[Axes]]:
    """Make a figure of panels.

    Args:
        number: of panels, at least 1.
        width: of the figure, in inches.
        columns: of panels at most, at least 1.
        height: of a panel with its labels, in inches.

    Returns:
        The figure, and its panels row by row.
    """
    columns = min(columns, number)
    rows = math.ceil(number / columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(width, rows * height), squeeze=False, layout="constrained"
    )
    for unused in axes.flat[number:]:
        unused.remove()
    return figure, list(axes.flat[:number])


def legend_below(figure: Figure, entries: Mapping[str, Any], *, marker_scale: float = 1.0) -> None:
    """Put a legend below the panels, in as many columns as the figure has room for.

    Long entries are broken into lines, and the figure grows by the legend's height: no entry is
    cut, and panels keep their size.

    Args:
        figure: in a constrained layout, as :func:`panels` makes it.
        entries: a handle by its text, in any letters.
        marker_scale: how much larger markers are in it.
    """
    if not entries:
        return
    letters = int(_LETTERS * figure.get_figwidth())
    texts = [fill(text, letters) for text in entries]
    for columns in range(min(_COLUMNS, len(texts)), 0, -1):
        # matplotlib leaves out texts that begin with an underscore, and reads formulas in others
        legend = figure.legend(
            list(entries.values()), ["?"] * len(texts), ncols=columns, frameon=False,
            loc="outside lower center", columnspacing=1.5, handlelength=2.2, borderpad=0.2,
            markerscale=marker_scale,
        )  # fmt: skip
        for place, text in zip(legend.get_texts(), texts, strict=True):
            place.set_parse_math(False)
            place.set_text(text)
        box = legend.get_window_extent()
        if columns == 1 or box.width < 0.98 * figure.bbox.width:
            break
        legend.remove()
    figure.set_figheight(figure.get_figheight() + box.height / figure.dpi)


def save(figure: Figure, folder: Path, name: str, kinds: Sequence[str] = KINDS) -> list[Path]:
    """Write a picture in several kinds of files.

    Args:
        figure: the picture, in the look of :func:`theme`.
        folder: where to.
        name: of the files, without ending.
        kinds: of png, pdf and svg.

    Returns:
        The files.
    """
    paths = [folder / f"{name}.{kind}" for kind in kinds]
    for path, kind in zip(paths, kinds, strict=True):
        figure.savefig(path, metadata=_METADATA[kind])
        figure.set_layout_engine("none")  # panels stand where the first file has them
    return paths


def picture_kind(path: Path, setting: str) -> str:
    """Find out the kind of a picture from its name.

    Args:
        path: a file.
        setting: which setting or option names it.

    Returns:
        png, pdf or svg.

    Raises:
        ConfigurationError: if it is none of these.
    """
    kind = path.suffix.lower().removeprefix(".")
    if kind not in KINDS:
        ends = ", ".join(f".{kind}" for kind in KINDS)
        raise ConfigurationError(
            f"Expected `{setting}` to be a file that ends with one of {ends} but got {str(path)!r}."
        )
    return kind
