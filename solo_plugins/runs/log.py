# SPDX-License-Identifier: MIT
"""The log of a run: one CSV file for all its parts, each row once."""

__all__ = ["MetricsLog", "last_values"]

import csv
import io
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only
from typing_extensions import override

from solo_plugins.runs.files import RunFileError, read_text, write_text
from solo_plugins.runs.folder import RunFolder

_Row = dict[str, Any]
_MOST_PENDING, _MOST_SECONDS = 100, 10.0
_MOST_BYTES = 256 * 2**20


class MetricsLog(Logger):
    """A Lightning logger that goes on with the file of an interrupted run.

    Lightning's own CSVLogger empties the file. Rows are kept in memory until there are 100 or ten
    seconds are over; :meth:`flush` puts them on the disk, as is done before every checkpoint.

    Args:
        folder: the run's folder.
        first_step: the step at which a resumed run goes on; what was logged from it on is left out,
            as it is logged again.
    """

    def __init__(self, folder: RunFolder, first_step: int = 0) -> None:
        super().__init__()
        self.path = folder.log_path
        self._columns: list[str] = []
        self._pending: list[_Row] = []
        self._flushed = time.monotonic()
        self._take_over(folder, first_step)

    @property
    @override
    def name(self) -> str:
        return ""

    @property
    @override
    def version(self) -> str:
        return ""

    @property
    @override
    def save_dir(self) -> str:
        return str(self.path.parent)

    @override
    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the configuration lies beside the log."""

    @override
    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        plain = {
            name: getattr(value, "item", lambda v=value: v)() for name, value in metrics.items()
        }
        self._pending.append({**plain, "step": step})
        if len(self._pending) >= _MOST_PENDING:
            self.flush()

    @override
    def save(self) -> None:
        if time.monotonic() - self._flushed > _MOST_SECONDS:
            self.flush()

    @override
    def finalize(self, status: str) -> None:
        self.flush()

    @rank_zero_only
    def flush(self) -> None:
        """Put all rows on the disk.

        Raises:
            RunFileError: if the disk is full or refuses.
        """
        self._flushed = time.monotonic()
        if not self._pending:
            return
        new = {name for row in self._pending for name in row} - set(self._columns)
        if new:
            rows = _read(self.path) if os.path.lexists(self.path) else []
            self._columns = sorted({*self._columns, *new})
            write_text(self.path, self._text([*rows, *self._pending], header=True))
        else:
            self._append(self._text(self._pending))
        self._pending = []

    def _append(self, text: str) -> None:
        try:
            with self.path.open("a", newline="", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise RunFileError(self.path, str(error), "written") from error

    def _text(self, rows: Iterable[_Row], *, header: bool = False) -> str:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self._columns)
        if header:
            writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()

    @rank_zero_only
    def _take_over(self, folder: RunFolder, first_step: int) -> None:
        """Make one file of all logs that the run has, up to a step."""
        logs = folder.logs()
        rows = _joined(logs, first_step)
        self._columns = sorted({name for row in rows for name in row})
        if rows:
            write_text(self.path, self._text(rows, header=True))
        for path in logs:
            if path != self.path or not rows:
                path.unlink()


def last_values(folder: RunFolder) -> dict[str, float]:
    """Read the last value of everything that a run has logged.

    Args:
        folder: the run's folder.

    Returns:
        Numbers by name.
    """
    rows = [row for path in folder.logs() for row in _read(path)]
    return {name: float(value) for row in rows for name, value in row.items() if value != ""}


def _joined(logs: list[Path], first_step: int) -> list[_Row]:
    """Join logs: of rows that a later one repeats, those of the later one stay."""
    kept: list[_Row] = []
    for path in logs:
        rows = _read(path)
        begin = min((_step(row) for row in rows), default=first_step)
        kept = [row for row in kept if _step(row) < begin] + rows
    return [row for row in kept if _step(row) < first_step]


def _step(row: _Row) -> int:
    return int(float(row["step"]))


def _read(path: Path) -> list[_Row]:
    """Read the rows that were written whole: a kill may have cut the last."""
    text = read_text(path, _MOST_BYTES)
    whole = text[: text.rfind("\n") + 1]
    try:
        rows = list(csv.DictReader(io.StringIO(whole, newline="")))
    except csv.Error as error:
        raise RunFileError(path, str(error)) from error
    return [row for row in rows if _is_step(row.get("step"))]


def _is_step(value: object) -> bool:
    return isinstance(value, str) and value.replace(".", "", 1).isdecimal() and len(value) < 20
