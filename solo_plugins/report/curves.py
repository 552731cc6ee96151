# SPDX-License-Identifier: MIT
"""Training curves from a run's logs."""

__all__ = ["Curves", "read_curves"]

import math
from pathlib import Path
from typing import Any

import pandas as pd

from solo_plugins.report.search import LeftOut
from solo_plugins.runs.folder import RunFolder
from solo_plugins.untrusted.files import open_regular, reason_of

_MOST_BYTES, _MOST_EPOCHS = 256 * 2**20, 10**7
_LARGEST = 1e18  # that a picture can have
# By quantity, the values with the epochs that logged one as index; epochs count from 0.
Curves = dict[str, pd.Series]

_QUANTITIES = {
    "knn": ("val_knn_acc1",),
    "linear": ("val_acc1",),
    # Of training the last step's, as table and terminal have it; earlier commits logged means.
    "l0": (
        *("val_l0_sparsity_metric", "train_l0_sparsity_metric_last", "train_l0_sparsity_metric"),
    ),
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
    # Lightning adds `_epoch` to the name of an epoch's mean where single steps are logged too.
    choices = {
        quantity: [name + suffix for name in names for suffix in ("_epoch", "")]
        for quantity, names in {**_QUANTITIES, "loss": (loss,)}.items()
    }
    logs, notes = [], []
    for path in folder.logs():
        try:
            logs.append(_read_log(path, {"epoch"}.union(*choices.values())))
        except (OSError, ValueError, OverflowError) as error:
            notes.append(LeftOut(str(path), f"cannot be used: {reason_of(error)}"))
    if not logs:
        return {}, notes
    logged = pd.concat(logs).drop_duplicates(["variable", "epoch"], keep="last")
    columns = dict(list(logged.set_index("epoch").sort_index().groupby("variable")["value"]))
    curves = {
        quantity: next((columns[name] for name in names if name in columns), None)
        for quantity, names in choices.items()
    }
    return {name: curve for name, curve in curves.items() if curve is not None}, notes


def _read_log(path: Path, names: set[str]) -> pd.DataFrame:
    # As text, a logged NaN differs from an empty cell.
    options: dict[str, Any] = {"dtype": str, "keep_default_na": False, "na_values": [""]}
    with open_regular(path, most=_MOST_BYTES) as file:
        log = pd.read_csv(file, usecols=names.__contains__, **options)
    if "epoch" not in log:
        raise ValueError("there is no column `epoch`")
    long = log.melt("epoch").dropna().astype({"epoch": int, "value": float})
    if not long["epoch"].between(0, _MOST_EPOCHS).all():
        raise ValueError(f"it has epochs that are not from 0 to {_MOST_EPOCHS}")
    if (long["value"].abs().replace(math.inf, 0) > _LARGEST).any():
        raise ValueError(f"it has values above {_LARGEST:g}")
    return long
