# SPDX-License-Identifier: MIT
"""The tables as files for other programs: numbers in CSV and JSON, a paper's table in LaTeX."""

__all__ = ["TABLES", "write_tables"]

import json
import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from solo_plugins.report.rows import Mean, Row
from solo_plugins.report.table import COLUMNS, NUMBERS, best, cells, measured
from solo_plugins.runs.description import method_name
from solo_plugins.runs.files import write_text

# The names of all files.
TABLES = ["table.json", "table.csv", *(f"table-{name.lower()}.tex" for name in COLUMNS)]
# Letters for which LaTeX has commands; the rest is text in any encoding that papers use.
_COMMANDS = {"±": r"$\pm$", "−": "$-$", "μ": r"$\mu$", "<": "$<$", "→": r"$\to$"}
# A table that is wider than the text, by long names or many methods, is scaled down to it.
_FITTED = r"""% \usepackage{{booktabs,graphicx}}
\resizebox{{\ifdim\width>\linewidth\linewidth\else\width\fi}}{{!}}{{%
{}}}
"""


def write_tables(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Write the tables of one section.

    Args:
        rows: in the order of the table.
        folder: where to.

    Returns:
        ``table.csv`` and ``table.json`` with the numbers as they are, and for each table of the
        report a ``table-<heading>.tex``, which needs the packages booktabs and graphicx.
    """
    records = [_record(row) for row in rows]
    texts = {
        "table.csv": pd.DataFrame(map(_flat, records)).to_csv(index=False),
        "table.json": json.dumps(records, indent=2, ensure_ascii=False, allow_nan=False) + "\n",
        **{f"table-{name.lower()}.tex": _latex(rows, columns) for name, columns in COLUMNS.items()},
    }
    for name, text in texts.items():
        write_text(folder / name, text)
    return [folder / name for name in texts]


def _record(row: Row) -> dict[str, Any]:
    """Return a row as JSON has it; what was not measured, or is not finite, is null."""
    target = row.target
    return {
        "label": row.label,
        "method": str(row.first.cfg.method),
        "name": method_name(str(row.first.cfg.method)),
        "config": str(row.first.cfg.name),
        "differs": row.differs or None,
        "dataset": str(row.first.cfg.data.dataset),
        "backbone": str(row.first.cfg.backbone.name),
        "epochs": row.first.epochs,
        "seeds": [run.cfg.seed for run in row.runs],
        "commits": sorted({str(run.commit or "unknown") for run in row.runs}),
        "target": target
        and {
            "p": _finite(target.p),
            "mu": _finite(target.loc),
            "sigma": _finite(target.scale),
            "l0": _finite(target.l0),
            "rectified": target.rectified,
            "calibrated": target.calibrated,
        },
        **{column: _values(measured(row, name)) for name, (column, _) in NUMBERS.items() if column},
        "seconds": _values(row.mean("seconds")),
    }


def _values(mean: Mean) -> dict[str, Any] | None:
    if not mean.n:
        return None
    value, std = _finite(mean.value), _finite(mean.std)
    return {"mean": value, "std": std, "n": mean.n, "how": mean.mark or "usual"}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _flat(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record with one column for each number, the same columns for every row."""
    parts: dict[str, tuple[str, ...]] = {
        "target": ("p", "mu", "sigma", "l0", "rectified", "calibrated")
    }
    measured = {column: ("mean", "std", "n", "how") for column, _ in NUMBERS.values() if column}
    parts |= {**measured, "seconds": ("mean", "std", "n", "how")}
    flat: dict[str, Any] = {}
    for key, value in record.items():
        if key in parts:
            flat |= {f"{key}_{part}": (value or {}).get(part) for part in parts[key]}
        else:
            flat[key] = " ".join(map(str, value)) if isinstance(value, list) else value
    return flat


def _latex(rows: Sequence[Row], columns: Sequence[str]) -> str:
    table = pd.DataFrame([cells(row) for row in rows])[list(columns)].replace("not run", "--")
    bold = {column: best(rows, column) for column in columns}
    style = table.style.format(escape="latex").format_index(escape="latex", axis=1).hide(axis=0)
    style = style.apply(lambda column: _bold(column, bold))
    text = style.to_latex(hrules=True, column_format="ll" + "r" * (len(columns) - 2))
    for letter, command in _COMMANDS.items():
        text = text.replace(letter, command)
    return _FITTED.format(text)


def _bold(column: pd.Series, bold: Mapping[str, Collection[int]]) -> list[str]:
    chosen = bold[str(column.name)]
    return ["textbf: --rwrap" if number in chosen else "" for number in range(len(column))]
