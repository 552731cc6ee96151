# SPDX-License-Identifier: MIT
"""Training curves from a run's logs."""

__all__ = ["LOSSES", "Curves", "read_curves"]

import csv
import re
from pathlib import Path

from solo_plugins.report.find import LeftOut

# By quantity, the value of every epoch that logged one; epochs count from 0.
Curves = dict[str, dict[int, float]]

# What a method's own loss is called in the logs; `loss` is the first of these that is there.
LOSSES = (
    "train_rectified_lp_jepa_loss", "train_vicreg_loss", "train_neg_cos_sim", "train_barlow_loss",
    "dino_loss", "train_swav_loss", "train_lejepa_loss", "train_ncl_loss", "train_nce_loss",
)  # fmt: skip
_QUANTITIES = {
    "knn": ("val_knn_acc1",),
    "linear": ("val_acc1",),
    "l0": ("val_l0_sparsity_metric", "train_l0_sparsity_metric"),
    "loss": LOSSES,
}


def read_curves(folder: Path) -> tuple[Curves, list[LeftOut]]:
    """Read ``metrics.csv`` and the logs of the interrupted parts before it.

    Args:
        folder: a run's folder.

    Returns:
        The curves, with the later value of an epoch that was logged twice, and the logs that cannot
        be read. A quantity that is nowhere logged is missing.
    """
    columns: Curves = {}
    notes = []
    for path in sorted(folder.glob("metrics*.csv"), key=_part):
        try:
            with path.open(newline="") as file:
                _add(columns, csv.DictReader(file, strict=True))
        except (OSError, ValueError, csv.Error) as error:
            notes.append(LeftOut(str(path), f"cannot be used: {error}"))
    curves = {}
    for quantity, names in _QUANTITIES.items():
        logged = [columns[name] for name in names if columns.get(name)]
        if logged:
            curves[quantity] = dict(sorted(logged[0].items()))
    return curves, notes


def _part(path: Path) -> float:
    number = re.fullmatch(r"metrics\.(\d+)\.csv", path.name)
    return int(number[1]) if number else float("inf")


def _add(columns: Curves, rows: csv.DictReader) -> None:
    if "epoch" not in (rows.fieldnames or ()):
        raise ValueError("there is no column `epoch`")
    for row in rows:
        if not row["epoch"]:
            continue
        for names in _QUANTITIES.values():
            for name in names:
                # Lightning's name of an epoch's mean, where single steps are logged too
                value = row.get(f"{name}_epoch") or row.get(name)
                if value:
                    columns.setdefault(name, {})[int(row["epoch"])] = float(value)
