# SPDX-License-Identifier: MIT
"""The report on a set of runs: ``report.md`` and its pictures."""

__all__ = ["write_report"]

import itertools
import re
from collections.abc import Iterable
from pathlib import Path

from solo_plugins.report.figures import FIGURES
from solo_plugins.report.find import LeftOut, find
from solo_plugins.report.rows import Row, group
from solo_plugins.report.runs import KNN, Incomplete, Run, read_run
from solo_plugins.report.table import HEADER, cells, markdown

_LEGEND = f"""\
Accuracies in percent on the validation images: a linear probe on frozen features
(`main_linear.py`), kNN with k={KNN["k"]}, {KNN["distance"]} distance, temperature \
{KNN["temperature"]} (`main_knn.py`). l0 is the share of
outputs that are not zero, an all-zero row is an image without an active output, l1 the mean of
(|z|_1 / |z|_2)^2 / D over the other rows; dead outputs are zero and always-on ones non-zero for
every image. Of a sample of the images: the effective rank, exp of the entropy of the normalised
singular values; marginal W2, the outputs' mean 2-Wasserstein distance to the target; nHSIC, the
mean dependence of two outputs, near 0 if they are independent and 1 if they are copies. Over seeds:
mean ± sample standard deviation. *online*: measured during training, with the run's own settings;
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
    paths = list(paths)
    found = find(paths)
    runs, left_out = _read(found.folders)
    rows, repeated = group(runs)
    left_out = [*found.left_out, *left_out, *repeated]
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    text = ["# Report\n", f"{len(runs)} runs, {len(rows)} rows.\n"]
    sections = [list(part) for _, part in itertools.groupby(rows, key=lambda row: row.section)]
    for section in sections:
        text += _section(section, out, alone=len(sections) == 1)
    if rows:
        text += [_LEGEND]
    text += _left_out(left_out)
    text += ["## Runs\n", _runs(rows)] if rows else []
    report = out / "report.md"
    report.write_text("\n".join(text))
    return report


def _read(folders: Iterable[Path]) -> tuple[list[Run], list[LeftOut]]:
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


def _section(rows: list[Row], out: Path, *, alone: bool) -> list[str]:
    dataset, backbone = rows[0].section
    folder = out if alone else out / re.sub(r"[^\w.-]+", "-", f"{dataset}-{backbone}")
    folder.mkdir(exist_ok=True)
    text = [f"## {dataset}, {backbone}\n", markdown(HEADER, map(cells, rows))]
    for name, (draw, alt) in FIGURES.items():
        path = folder / f"{name}.png"
        path.unlink(missing_ok=True)
        notes = draw(rows, path)
        if path.exists():
            text.append(f"![{alt}]({path.relative_to(out)})\n")
        text += [f"`{name}.png`: {note}.\n" for note in notes]
    return text


def _left_out(left_out: list[LeftOut]) -> list[str]:
    if not left_out:
        return []
    reasons: dict[str, list[str]] = {}
    for where, reason in left_out:
        reasons.setdefault(reason, []).append(where)
    lines = []
    for reason, places in reasons.items():
        if reason.startswith("it is a linear probe"):
            lines.append(f"- {len(places)} folders of linear probes, shown with what they evaluate")
        else:
            lines += [f"- `{place}`: {reason}" for place in places]
    return ["## Left out / incomplete\n", "\n".join(lines) + "\n"]


def _runs(rows: list[Row]) -> str:
    lines = [
        [row.label, str(run.cfg.seed), f"`{run.folder}`", run.commit or "unknown"]
        for row in rows
        for run in row.runs
    ]
    return markdown(("row", "seed", "folder", "commit"), lines)
