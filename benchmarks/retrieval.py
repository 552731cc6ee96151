# SPDX-License-Identifier: MIT
"""Search by sparse codes against search by dense features and by PCA to the same bytes.

    python benchmarks/retrieval.py DATABASE QUERIES [--m 4 8 16 32] [--k 10] [--plot FILE.png]

Both are folders that `solo_plugins embed` has made, with labels, of one network. Codes are cut to
their m largest outputs on both sides; a value takes 8 bytes (float32 and its place) and a row 4.
PCA is fitted on the database's features and takes 4 bytes for each of its components. All search is
exact and by the cosine. Of each way: the nearest image has the query's class (top 1); one of the k
nearest has it (recall); how many of the k have it (precision); how many of the k nearest by
features it finds (of dense). The last line is JSON.
"""

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sklearn.decomposition import PCA

from solo_plugins.codes import Embeddings, keep_largest
from solo_plugins.codes.search import Index
from solo_plugins.errors import ConfigurationError

TITLES = {
    "way": "search by",
    "bytes": "bytes an image",
    "top1": "top 1",
    "recall": "recall",
    "precision": "precision",
    "dense": "of dense",
    "per_second": "queries a second",
}


class Row(NamedTuple):
    """One way to search; percent, but for bytes and queries per second."""

    way: str
    bytes: float
    top1: float
    recall: float
    precision: float
    dense: float
    per_second: float


def main() -> None:
    """Print a table and, as the last line, the same as JSON."""
    args = _arguments()
    try:
        database, queries = Embeddings(args.database), Embeddings(args.queries)
        rows = list(compare(database, queries, args.m, args.k))
    except ConfigurationError as error:
        raise SystemExit(f"error: {error}") from error
    print("| " + " | ".join(TITLES.values()) + " |")
    print("| " + " | ".join("---" for _ in TITLES) + " |")
    for row in rows:
        accuracies = " | ".join(f"{value:.2f}" for value in row[2:6])
        print(f"| {row.way} | {row.bytes:.0f} | {accuracies} | {row.per_second:.0f} |")
    if args.plot:
        _draw(rows, args.k, args.plot)
    result = {"images": database.meta["images"], "queries": queries.meta["images"], "k": args.k}
    print(json.dumps({**result, "rows": [row._asdict() for row in rows]}))


class Judge:
    """What all ways are judged by: the classes, and the neighbours by features.

    Args:
        database: what is searched.
        queries: what is searched for.
        k: the number of neighbours.
    """

    def __init__(self, database: Embeddings, queries: Embeddings, k: int) -> None:
        for embeddings in (database, queries):
            if (embeddings.labels < 0).any():
                raise ConfigurationError(f"Expected labels in {str(embeddings.folder)!r}.")
        self.labels, self.asked, self.k = database.labels, queries.labels, k
        self.dense = Index(database.features).search(queries.features, k).places

    def row(self, way: str, size: float, rows: Any, queries: Any) -> Row:
        """Search in one way.

        Args:
            way: what it is called.
            size: bytes of an image.
            rows: of the database.
            queries: of the same kind.

        Returns:
            How well it does.
        """
        index = Index(rows)
        begin = time.perf_counter()
        found = index.search(queries, self.k).places
        seconds = time.perf_counter() - begin
        same = (self.labels[found] == self.asked[:, None]) & (found >= 0)
        shared = [len(np.intersect1d(*pair)) for pair in zip(found, self.dense, strict=True)]
        parts = same[:, 0], same.any(axis=1), same, np.array(shared) / self.k
        percent = (100 * float(part.mean()) for part in parts)
        return Row(way, size, *percent, len(found) / seconds)


def compare(database: Embeddings, queries: Embeddings, cuts: list[int], k: int) -> Iterator[Row]:
    """Search in all ways.

    Args:
        database: what is searched.
        queries: what is searched for.
        cuts: numbers of outputs that codes are cut to; all of them are tried too.
        k: the number of neighbours.

    Yields:
        A row for each way.
    """
    judge, width = Judge(database, queries, k), database.features.shape[1]
    yield judge.row(f"features ({width})", 4 * width, database.features, queries.features)
    sizes = []
    for m in [*cuts, None]:
        codes, asked = database.codes, queries.codes
        if m is not None:
            codes, asked = keep_largest(codes, m), keep_largest(asked, m)
        active = codes.nnz / codes.shape[0]
        sizes.append(8 * active + 4)
        way = "all outputs" if m is None else f"{m} largest"
        yield judge.row(f"codes, {way} ({active:.1f} active)", sizes[-1], codes, asked)
    for components in sorted({min(width, round(size / 4)) for size in sizes}):
        pca = PCA(components, random_state=0).fit(database.features)
        both = pca.transform(database.features), pca.transform(queries.features)
        yield judge.row(f"features, PCA ({components})", 4 * components, *both)


def _draw(rows: list[Row], k: int, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4))
    for kind, mark in {"codes": "o-", "features, PCA": "s-", "features (": "k*"}.items():
        points = [row for row in rows if row.way.startswith(kind)]
        label = "features" if mark == "k*" else kind
        axes.plot([p.bytes for p in points], [p.precision for p in points], mark, label=label)
    axes.set(xscale="log", xlabel="bytes an image", ylabel=f"same class among {k} nearest, %")
    axes.minorticks_off()
    sizes = sorted({round(row.bytes) for row in rows if row.way.startswith("codes")})
    axes.set_xticks(sizes, list(map(str, sizes)))
    axes.legend()
    figure.savefig(path, dpi=100, bbox_inches="tight")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("database", type=Path)
    parser.add_argument("queries", type=Path)
    parser.add_argument("--m", type=int, nargs="+", default=[4, 8, 16, 32])
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--plot", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
