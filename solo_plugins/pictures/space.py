# SPDX-License-Identifier: MIT
"""The space of features and outputs in a plane, by PCA and UMAP, coloured by class."""

__all__ = ["METHODS", "check_umap", "draw_planes", "plane", "some"]

import importlib.util
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from solo_plugins.errors import ConfigurationError, one_of
from solo_plugins.pictures.style import legend_below, theme

METHODS = ("pca", "umap")
_TITLES = {"pca": "PCA", "umap": "UMAP"}
_NEIGHBORS = 15  # umap-learn's default
_LEGEND = 20  # classes that a legend names legibly
_AXES = ("x", "y")


def check_umap(what: str) -> None:
    """Refuse to begin what needs umap-learn without it.

    Args:
        what: the setting or option that asks for it.

    Raises:
        ConfigurationError: if it is not installed.
    """
    found = importlib.util.find_spec("umap")
    if found is None or found.origin is None:  # an uninstall may leave an empty folder
        raise ConfigurationError(
            f"Expected umap-learn to be installed for {what} but it is not: "
            "pip install 'solo_plugins[umap]'."
        )


def some(number: int, most: int) -> np.ndarray:
    """Choose evenly spaced rows, all of them if there are few.

    Args:
        number: how many rows there are.
        most: how many are chosen at most, positive.

    Returns:
        Their places in ascending order.

    Example:
        >>> some(10, 4).tolist()
        [0, 2, 5, 7]
    """
    count = min(number, most)
    return np.arange(count) * number // max(1, count)


def plane(rows: Any, method: str, *, seed: int = 0) -> np.ndarray:
    """Put rows into a plane, the same one for the same rows, method and seed.

    Args:
        rows: features (N, D), an array or a scipy.sparse matrix, N at least 4.
        method: ``pca``, or ``umap`` by the cosine and 15 neighbours.
        seed: of UMAP, which then runs on one thread, and of PCA's solver.

    Returns:
        Coordinates (N, 2).

    Raises:
        ConfigurationError: if there are too few rows, a value is not finite, or umap-learn is
            missing.
    """
    if method not in METHODS:
        raise one_of("method", method, METHODS)
    dense = np.asarray(rows.toarray() if hasattr(rows, "toarray") else rows, dtype=np.float32)
    if len(dense) < 4:
        raise ConfigurationError(f"Expected at least 4 images to draw but got {len(dense)}.")
    if not np.isfinite(dense).all():
        raise ConfigurationError("Expected features to be finite but some are NaN or infinite.")
    if method == "pca":
        return _pca(dense, seed)
    check_umap("the UMAP")
    with warnings.catch_warnings():
        # That there is no TensorFlow, that a seed means one thread, that neighbours are equal.
        warnings.simplefilter("ignore")
        from umap import UMAP

        reducer = UMAP(
            n_neighbors=min(_NEIGHBORS, len(dense) - 1),
            metric="cosine",
            # the spectral layout has none for few or equal rows
            init=_spread(_pca(dense, seed), seed),
            random_state=seed,
            n_jobs=1,
        )
        return np.asarray(reducer.fit_transform(dense))


def _pca(dense: np.ndarray, seed: int) -> np.ndarray:
    from sklearn.decomposition import PCA

    width = min(2, dense.shape[1])
    if np.ptp(dense, axis=0).max() == 0:  # all rows are one
        return np.zeros((len(dense), 2), dtype=np.float32)
    found = PCA(n_components=width, random_state=seed).fit_transform(dense)
    return np.pad(found, ((0, 0), (0, 2 - width)))


def _spread(points: np.ndarray, seed: int) -> np.ndarray:
    """Scale a first layout to UMAP's size of 10, and part points that are equal."""
    largest = np.abs(points).max()
    scaled = points * (10 / largest) if largest > 0 else points
    noise = np.random.default_rng(seed).normal(scale=1e-4, size=points.shape)
    return (scaled + noise).astype(np.float32)


def draw_planes(
    planes: Mapping[tuple[str, str], np.ndarray],
    classes: Sequence[str],
    title: str,
) -> Figure:
    """Draw planes as panels, with a colour for each class.

    Args:
        planes: coordinates (N, 2) by what was reduced, e.g. ``backbone``, and by method.
        classes: the name of each image's class, empty for an image without one.
        title: of the whole picture.

    Returns:
        The figure, a column for each method and a row for each thing that was reduced.
    """
    spaces = list(dict.fromkeys(space for space, _ in planes))
    methods = list(dict.fromkeys(method for _, method in planes))
    names = sorted({name for name in classes if name}, key=_by_number)
    palette = dict(zip(names, _palette(len(names)), strict=True))
    rows, columns = len(spaces), len(methods)
    with theme():
        figure, axes = plt.subplots(
            rows, columns, figsize=(3.4 * columns, 3.2 * rows), squeeze=False, layout="constrained"
        )
        legend: dict[str, Any] = {}
        for (space, method), points in planes.items():
            panel = axes[spaces.index(space), methods.index(method)]
            table = pd.DataFrame(points, columns=_AXES).assign(name=list(classes))
            blank = table.name == ""
            panel.scatter(*table.loc[blank, list(_AXES)].to_numpy().T, s=6, color="0.6", lw=0)
            # Mixed, so that no class lies on top because it was drawn last.
            shown = table[~blank].sample(frac=1, random_state=0)
            if names:
                sns.scatterplot(
                    shown, x="x", y="y", hue="name", hue_order=names, palette=palette, s=8,
                    linewidth=0, alpha=0.7, legend=len(names) <= _LEGEND, ax=panel,
                    rasterized=True,
                )  # fmt: skip
            panel.set(xlabel="", ylabel="", xticks=[], yticks=[])
            panel.set_title(f"{space.capitalize()}, {_TITLES[method]}")
            if panel.get_legend() is not None:
                handles, texts = panel.get_legend_handles_labels()
                legend = dict(zip(texts, handles, strict=True))
                panel.get_legend().remove()
        legend_below(figure, legend, marker_scale=2)
        note = "" if not names or len(names) <= _LEGEND else f", {len(names)} classes"
        figure.suptitle(f"{title}{note}")
    return figure


def _palette(number: int) -> list[Any]:
    if number <= 10:
        return list(sns.color_palette("colorblind", number))
    return list(sns.husl_palette(number))


def _by_number(name: str) -> tuple[bool, float, str]:
    return (not name.isdecimal(), float(name) if name.isdecimal() else 0.0, name)
