# SPDX-License-Identifier: MIT
"""Training curves from a run's logs."""

__all__ = ["Curves", "read_curves"]

import csv
from collections.abc import Iterable

from solo_plugins.report.find import LeftOut
from solo_plugins.runs.folder import RunFolder

# By quantity, the value of every epoch that logged one; epochs count from 0.
Curves = dict[str, dict[int, float]]

_QUANTITIES = {
    "knn": ("val_knn_acc1",),
    "linear": ("val_acc1",),
    "l0": ("val_l0_sparsity_metric", "train_l0_sparsity_metric"),
}


def read_curves(folder: RunFolder, loss: str) -> tuple[Curves, list[LeftOut]]:
    """Read a run's logs, those of interrupted parts too.

    Args:
        folder: the run's folder.
        loss: the name of the method's loss in the logs.

    Returns:
        The curves, with the later value of an epoch that was logged twice, and the logs that cannot
        be read. A quantity that was never logged is missing.
    """
    quantities = {**_QUANTITIES, "loss": (loss,)}
    names = [name for choices in quantities.values() for name in choices]
    columns: Curves = {}
    notes = []
    for path in folder.logs():
        try:
            with path.open(newline="") as file:
                _add(columns, csv.DictReader(file, strict=True), names)
        except (OSError, ValueError, csv.Error) as error:
            notes.append(LeftOut(str(path), f"cannot be used: {error}"))
    curves = {}
    for quantity, choices in quantities.items():
        logged = [columns[name] for name in choices if columns.get(name)]
        if logged:
            curves[quantity] = dict(sorted(logged[0].items()))
    return curves, notes


def _add(columns: Curves, rows: csv.DictReader, names: Iterable[str]) -> None:
    if "epoch" not in (rows.fieldnames or ()):
        raise ValueError("there is no column `epoch`")
    for row in rows:
        if not row["epoch"]:
            continue
        for name in names:
            # Lightning's name of an epoch's mean, where single steps are logged too
            value = row.get(f"{name}_epoch") or row.get(name)
            if value:
                columns.setdefault(name, {})[int(row["epoch"])] = float(value)
