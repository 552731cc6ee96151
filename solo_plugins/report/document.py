# SPDX-License-Identifier: MIT
"""Writing the report on a set of runs: ``report.md`` and its pictures."""

__all__ = ["write_report"]

import itertools
from collections.abc import Iterable
from pathlib import Path

from solo_plugins.pictures.style import theme
from solo_plugins.report.figures import curves, outputs, pareto, sparsity
from solo_plugins.report.read import KNN, Elsewhere, Incomplete, RunRecord, read_run
from solo_plugins.report.rows import Row, group
from solo_plugins.report.search import LeftOut, search
from solo_plugins.report.table import cells, table
from solo_plugins.runs.files import write_text
from solo_plugins.runs.folder import folder_name
from solo_plugins.untrusted.text import code, markdown

# By file name, the function that draws a picture, and what the picture shows.
_FIGURES = {
    "pareto": (pareto, "Accuracy against the fraction of zero outputs"),
    "sparsity": (sparsity, "Active fraction of the outputs, trained and target"),
    "outputs": (outputs, "Histogram of trained outputs over the target's density"),
    "curves": (curves, "Training curves"),
}

_LEGEND = f"""\
Accuracies in percent on the validation images: a linear probe on frozen features
(`main_linear.py`), kNN with k={KNN["k"]}, {KNN["distance"]} distance, temperature \
{KNN["temperature"]} (`main_knn.py`). l0 is the fraction of
outputs that are not zero, an all-zero row is an image without an active output, l1 the mean of
(|z|_1 / |z|_2)^2 / D over the other rows; dead outputs are zero and always-on ones non-zero for
every image. Of a sample of the images: the effective rank, exp of the entropy of the normalised
singular values, of outputs and of backbone features (RankMe, less the mean); marginal W2, the
outputs' mean 2-Wasserstein distance to the target; nHSIC, the mean dependence of two
outputs, near 0 if they are independent and 1 if they are copies. Over seeds: mean ± sample
standard deviation. *cached*: a probe on features of images that were not augmented; *online*:
measured during training, with the run's own settings;
*n*: fewer seeds than the row has; *not run*: no such measurement was found; *none*: the method has
no target, or a dense one as LpJEPA and LeJEPA; *calibrated*: thresholds hold the outputs at the
target's active fraction (`threshold_rate`).
"""


def write_report(paths: Iterable[str | Path], out: str | Path) -> Path:
    """Write a table and pictures of pretraining runs.

    Runs on different data or backbones get tables and pictures of their own, the latter in a folder
    each. Nothing is invented: what was not measured says so, and a run that cannot be used is
    listed with the reason and stops nothing. Two run folders of the same name in different places
    are two runs, told apart by their path; the same configuration and seed is shown once.

    Args:
        paths: run folders, folders above them, or glob patterns.
        out: the folder to write to; files of an earlier report are replaced.

    Returns:
        The path of ``report.md``.

    Raises:
        ConfigurationError: if there is no run folder at all.
    """
    folders, without_run = search(paths)
    runs, left_out = _read(folders)
    rows, repeated = group(runs)
    left_out = [*without_run, *left_out, *repeated]
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    text = ["# Report\n", f"{len(runs)} runs, {len(rows)} rows.\n"]
    sections = [list(part) for _, part in itertools.groupby(rows, key=lambda row: row.section)]
    names = [folder_name("-".join(section[0].section)) for section in sections]
    for number, section in enumerate(sections):
        again = names[:number].count(names[number])
        name = f"{names[number]}-{again + 1}" if again else names[number]
        text += _section(section, out, out if len(sections) == 1 else out / name)
    if rows:
        text += [_LEGEND]
    text += _elsewhere(rows)
    text += _left_out(left_out)
    text += ["## Runs\n", _runs(rows)] if rows else []
    report = out / "report.md"
    write_text(report, "\n".join(text))
    return report


def _read(folders: Iterable[Path]) -> tuple[list[RunRecord], list[LeftOut]]:
    runs, left_out = [], []
    for folder in folders:
        try:
            run = read_run(folder)
        except Incomplete as reason:
            left_out.append(LeftOut(str(folder), str(reason)))
        else:
            runs.append(run)
            left_out += run.unreadable
    return runs, left_out


def _section(rows: list[Row], out: Path, folder: Path) -> list[str]:
    folder.mkdir(exist_ok=True)
    title = ", ".join(map(markdown, rows[0].section))
    text = [f"## {title}\n", table([cells(row) for row in rows])]
    for name, (draw, alt) in _FIGURES.items():
        path = folder / f"{name}.png"
        path.unlink(missing_ok=True)
        with theme():
            grid, notes = draw(rows)
            if grid is not None:
                grid.savefig(path)
                text.append(f"![{alt}]({path.relative_to(out)})\n")
        text += [f"`{name}.png`: {markdown(note)}.\n" for note in notes]
    return text


def _elsewhere(rows: list[Row]) -> list[str]:
    """List evaluations on other data than those of pretraining."""
    columns = ("row", "seed", "data", "evaluation", "features", "accuracy")
    cells = [
        dict(
            zip(
                columns,
                (row.label, str(run.cfg.seed), *found[:3], _accuracy(found)),
                strict=True,
            )
        )
        for row in rows
        for run in row.runs
        for found in run.elsewhere
    ]
    return ["## On other data\n", table(cells)] if cells else []


def _accuracy(found: Elsewhere) -> str:
    spread = "" if found.spread is None else f" ± {found.spread:.2f}"
    return f"{found.acc1:.2f}{spread}"


def _left_out(left_out: list[LeftOut]) -> list[str]:
    if not left_out:
        return []
    probes = [note for note in left_out if note.reason.startswith("it is a linear probe")]
    lines = [
        f"- {code(where)}: {markdown(reason)}"
        for where, reason in left_out
        if (where, reason) not in probes
    ]
    if probes:
        lines.append(f"- {len(probes)} folders of linear probes, shown with what they evaluate")
    return ["## Left out / incomplete\n", "\n".join(lines) + "\n"]


def _runs(rows: list[Row]) -> str:
    columns = ("row", "seed", "folder", "commit")
    return table(
        dict(zip(columns, (row.label, str(run.cfg.seed), code(run.folder), commit), strict=True))
        for row in rows
        for run in row.runs
        for commit in [run.commit or "unknown"]
    )
