# SPDX-License-Identifier: MIT
"""Writing the report on a set of runs: ``report.md`` and its pictures."""

__all__ = ["write_report"]

import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from solo_plugins.errors import ConfigurationError, one_of
from solo_plugins.pictures.style import KINDS, WIDTHS, Look, looks, save, theme
from solo_plugins.report.exports import TABLES, write_tables
from solo_plugins.report.figures import PARTS, curves, outputs, pareto, sparsity
from solo_plugins.report.read import KNN, Elsewhere, Incomplete, RunRecord, read_run
from solo_plugins.report.rows import Row, group
from solo_plugins.report.search import LeftOut, search
from solo_plugins.report.table import COLUMNS, best, cells, duration, ranked, table
from solo_plugins.runs.files import write_text
from solo_plugins.runs.folder import folder_name
from solo_plugins.runs.writable import check_writable
from solo_plugins.untrusted.text import code, markdown

# By file name, the function that draws a picture, and what the picture shows.
_FIGURES = {
    "pareto": (pareto, "Accuracy against the fraction of active outputs"),
    "sparsity": (sparsity, "Active fraction of the outputs, trained and target"),
    "outputs": (outputs, "Histogram of trained outputs over the target's density"),
    "curves": (curves, "Training curves"),
}
# What is put behind a picture's name, by its width.
_SUFFIXES = {"double": "", "single": "-single"}
_WIDEST = 20.0  # inches

_LEGEND = f"""\
Accuracies in percent on the validation images: a linear probe on frozen features
(`main_linear.py`), kNN with k={KNN["k"]}, {KNN["distance"]} distance, temperature \
{KNN["temperature"]} (`main_knn.py`).
**Bold**: the highest of a column, and what is below it by its standard deviation at most, of each
way of measuring. Active is the fraction of outputs that are not zero, an all-zero row is an image
without an active output, l1 the mean of (|z|_1 / |z|_2)^2 / D over the other rows; dead outputs are
zero and always-on ones non-zero for every image. Of a sample of the images: the effective rank, exp
of the entropy of the normalised singular values, of outputs and of backbone features (RankMe, less
the mean); marginal W2, the outputs' mean 2-Wasserstein distance to the target; nHSIC, the mean
dependence of two outputs, near 0 if they are independent and 1 if they are copies. Over seeds: mean
± sample standard deviation. *cached*: a probe on features of images that were not augmented;
*online*: measured during training, with the run's own settings; *training*: of augmented training
images, as nothing was validated; *n*: fewer seeds than the row has; *not run*: no such measurement
was found; *none*: the method has no target, or a dense one as LpJEPA and LeJEPA; *calibrated*:
thresholds hold the outputs at the target's active fraction (`threshold_rate`).

Each picture is there as PNG, PDF and SVG, {{width}} inches wide as shown here, and \
{WIDTHS["single"]} inches for one
column of a paper. `table.csv` and `table.json` have the numbers as they are, `table-*.tex` the
tables for LaTeX with booktabs and graphicx. A method has one colour and one marker in all of them.
"""


def write_report(
    paths: Iterable[str | Path],
    out: str | Path,
    *,
    formats: Sequence[str] = KINDS,
    width: float = WIDTHS["double"],
) -> Path:
    """Write tables and pictures of pretraining runs.

    Runs on different data or backbones get tables and pictures of their own, the latter in a folder
    each. Nothing is invented: what was not measured says so, and a run that cannot be used is
    listed with the reason and stops nothing. Two run folders of the same name in different places
    are two runs, told apart by their path; the same configuration and seed is shown once.

    Args:
        paths: run folders, folders above them, or glob patterns.
        out: the folder to write to; files of an earlier report are replaced.
        formats: of png, pdf and svg, the kinds of picture files. The report shows the first.
        width: of the page's text in inches, from 3.3 to 20, e.g. 5.5 for NeurIPS and ICLR; by
            default that of ICML, whose columns are 3.3 inches wide.

    Returns:
        The path of ``report.md``.

    Raises:
        ConfigurationError: if there is no run folder at all, a format is unknown, or the width is
            another.
    """
    for kind in formats:
        if kind not in KINDS:
            raise one_of("formats", kind, KINDS)
    if not WIDTHS["single"] <= width <= _WIDEST:
        raise ConfigurationError(
            f"Expected `width` to be from {WIDTHS['single']} to {_WIDEST} inches but got {width}."
        )
    folders, without_run = search(paths)
    check_writable(out, "out")
    runs, left_out = _read(folders)
    rows, repeated = group(runs)
    left_out = [*without_run, *left_out, *repeated]
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    _remove_earlier(out)
    text = ["# Report\n", f"{_counted(runs, 'run')}, {_counted(rows, 'row')}.\n"]
    sections = [list(part) for _, part in itertools.groupby(rows, key=lambda row: row.section)]
    same = looks(row.series for row in rows)
    names = [folder_name("-".join(section[0].section)) for section in sections]
    for number, section in enumerate(sections):
        again = names[:number].count(names[number])
        name = f"{names[number]}-{again + 1}" if again else names[number]
        folder = out if len(sections) == 1 else out / name
        text += _section(section, out, folder, same, formats, width)
    if rows:
        text += [_LEGEND.format(width=f"{width:g}")]
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


def _counted(things: Sequence[Any], name: str) -> str:
    return f"{len(things)} {name}{'' if len(things) == 1 else 's'}"


def _remove_earlier(out: Path) -> None:
    """Remove tables and pictures of an earlier report, by their names; other files stay."""
    parts = itertools.product(_FIGURES, PARTS, _SUFFIXES.values(), KINDS)
    names = [f"{name}{part}{suffix}.{kind}" for name, part, suffix, kind in parts] + TABLES
    for folder in (out, *(path.parent for path in out.glob(f"*/{TABLES[0]}"))):
        for name in names:
            (folder / name).unlink(missing_ok=True)
        if folder != out and not any(folder.iterdir()):
            folder.rmdir()


def _section(
    rows: list[Row],
    out: Path,
    folder: Path,
    same: Mapping[str, Look],
    formats: Sequence[str],
    width: float,
) -> list[str]:
    folder.mkdir(exist_ok=True)
    order, by = ranked(rows)
    text = [f"## {', '.join(map(markdown, rows[0].section))}\n"]
    texts = [cells(row) for row in order]
    for heading, columns in COLUMNS.items():
        some = [{column: each[column] for column in columns} for each in texts]
        bold = {column: best(order, column) for column in columns}
        text += [f"{heading}, sorted by {by}:\n", table(some, bold)]
    files = write_tables(order, folder)
    text.append(f"Also as {_links(files, out)}.\n")
    for name in _FIGURES:
        text += _pictures(name, rows, same, folder, formats, out, width)
    return text


def _pictures(
    name: str,
    rows: list[Row],
    same: Mapping[str, Look],
    folder: Path,
    formats: Sequence[str],
    out: Path,
    page: float,
) -> list[str]:
    """Draw one kind of picture at all widths, and return its lines of the report."""
    draw, alt = _FIGURES[name]
    files: dict[str, list[Path]] = {}
    notes: list[str] = []
    for size, width in {**WIDTHS, "double": page}.items():
        with theme():
            figures, notes = draw(rows, same, width)
            for part, figure in figures.items():
                written = save(figure, folder, f"{name}{part}{_SUFFIXES[size]}", formats)
                files.setdefault(part, []).extend(written)
    text = []
    for part, paths in files.items():
        if paths:
            shown = f"{alt}{part.replace('-', ': ')}"
            text += [f"![{shown}]({paths[0].relative_to(out)})\n", f"{_links(paths, out)}\n"]
    return text + [f"`{name}`: {markdown(note)}.\n" for note in notes]


def _links(paths: Iterable[Path], out: Path) -> str:
    return ", ".join(f"[{path.name}]({path.relative_to(out)})" for path in paths)


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
        folders = "folder" if len(probes) == 1 else "folders"
        lines.append(f"- {len(probes)} {folders} of linear probes, shown with what they evaluate")
    return ["## Left out / incomplete\n", "\n".join(lines) + "\n"]


def _runs(rows: list[Row]) -> str:
    return table(
        {
            "row": row.label,
            "seed": str(run.cfg.seed),
            "epochs": str(run.epochs),
            "wall time": _time(run),
            "config": row.config_name,
            "folder": code(run.folder),
            "commit": str(run.commit or "unknown"),
        }
        for row in rows
        for run in row.runs
    )


def _time(run: RunRecord) -> str:
    seconds = run.numbers.get("seconds")
    return "unknown" if seconds is None else duration(seconds.value)
