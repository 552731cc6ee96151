# SPDX-License-Identifier: MIT
"""The table of a network's accuracies on other data sets: its order, its means, foreign ones."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from solo_plugins.runs.files import RunFileError
from solo_plugins.runs.folder import RunFolder
from solo_plugins.runs.lock import held
from solo_plugins.runs.transfer import Cell, TransferTable

_IDENTITY = {"checkpoint": "last.ckpt"}


@pytest.fixture
def table(tmp_path: Path) -> TransferTable:
    """Return an empty table in a run's folder."""
    return TransferTable.of(RunFolder(tmp_path), _IDENTITY)


def _cell(shots: str, draw: int, accuracy: float = 50.0) -> Cell:
    results = {name: {"accuracy": accuracy} for name in ("backbone", "projector")}
    return Cell("pets", shots, draw, {"metric": "top 1"}, results)


def test_rows_are_by_name_and_few_images_first_whatever_came_first(table: TransferTable) -> None:
    order = ["1", "2", "10", "1.5%", "5%", "10%", "all"]
    for shots in ["all", "10%", "5%", "10", "1", "1.5%", "2"]:
        table.add(_cell(shots, 1))
        table.add(_cell(shots, 0))
    table.add(Cell("dtd", "all", 0, {"metric": "top 1"}, {"backbone": {"accuracy": 1.0}}))
    rows = [(row.dataset, row.shots) for row in table.summaries()]
    assert rows == [("dtd", "all"), *(("pets", shots) for shots in order)]
    lines = table.path.with_suffix(".md").read_text().splitlines()
    columns = ("data set", "images of each class", "accuracy", "draws", "backbone", "projector")
    head = lines.index(f"| {' | '.join(columns)} |")
    assert lines[head + 2] == "| dtd | all | top 1 | 1 | 1.00 | none |"
    assert [line.split(" | ")[1] for line in lines[head + 3 :]] == order
    with table.path.with_suffix(".csv").open() as file:
        draws = [row["draw"] for row in csv.DictReader(file) if row["shots"] == "5%"]
    assert draws == ["0", "0", "1", "1"]


def test_means_and_deviations_are_numpys_and_a_files_are_the_tables(table: TransferTable) -> None:
    values = [0.0, 100.0, 41.7, 3.25]  # both ends are percentages
    for draw, value in enumerate(values):
        table.add(_cell("1", draw, value))
    (row,) = table.summaries()
    wanted = (pytest.approx(np.mean(values)), pytest.approx(np.std(values, ddof=1)))
    assert row.accuracies == {"backbone": wanted, "projector": wanted}
    again = TransferTable.of(RunFolder(table.path.parent), _IDENTITY)
    assert again.summaries() == [row]
    assert ("pets", "1", 3) in again
    assert ("pets", "1", 4) not in again


def test_what_is_measured_takes_the_place_of_the_reason_why_it_was_not(
    table: TransferTable,
) -> None:
    table.add(Cell("pets", "1", None, reason="no folder"))
    table.add(Cell("pets", "10", None, reason="too few | images"))
    assert "| pets | 1 |  | 0 | no folder |  |" in table.path.with_suffix(".md").read_text()
    table.add(_cell("1", 0))
    text = table.path.with_suffix(".md").read_text()
    assert "no folder" not in text
    assert r"too few \| images" in text
    assert len(json.loads(table.path.read_text())["cells"]) == 2


def test_a_table_that_is_held_is_named_with_who_holds_it(table: TransferTable) -> None:
    with held(table.path.with_suffix(".lock")):
        refused = pytest.raises(RunFileError, match=r"cannot be written: .*works in it")
        with refused as error, table.alone():
            pytest.fail("two work at once")
        assert table.path.name in str(error.value)
        assert ".." not in str(error.value)
    table.path.with_suffix(".lock").unlink()
    with table.alone():
        assert table.path.with_suffix(".lock").exists()
    assert not table.path.with_suffix(".lock").exists()


_WHOLE = {"dataset": "pets", "shots": "1", "draw": 0, "facts": {"metric": "top 1"}}


@pytest.mark.parametrize(
    "change",
    [
        {"dataset": 3},
        {"dataset": "p" * 1001},
        {"reason": "r" * 1001},
        {"reason": None},
        {"shots": ["1"]},
        {"shots": "some"},
        {"shots": "x%"},
        {"draw": "0"},
        {"draw": 0.5},
        {"facts": {}},
        {"facts": None},
        {"results": ["backbone"]},
        {"results": {"backbone": {}}},
        *({"results": {"backbone": {"accuracy": a}}} for a in (-0.1, 100.1, "much", None, [])),
        {"more": 1},
    ],
)
def test_a_cell_that_is_none_is_one_error_with_the_files_name(
    table: TransferTable, change: dict[str, Any]
) -> None:
    entry = _WHOLE | {"results": {"backbone": {"accuracy": 50.0}}} | change
    table.path.write_text(json.dumps({"identity": _IDENTITY, "cells": [entry]}))
    with pytest.raises(RunFileError, match="it is no table of transfer") as error:
        TransferTable(table.path)
    assert table.path.name in str(error.value)
    assert len(str(error.value)) < 400


def test_a_text_of_the_longest_length_is_taken(table: TransferTable) -> None:
    entry = _WHOLE | {"dataset": "p" * 1000}
    table.path.write_text(json.dumps({"identity": _IDENTITY, "cells": [entry]}))
    assert TransferTable(table.path).summaries()[0].dataset == "p" * 1000


def test_a_page_has_the_deviation_of_several_draws_alone(table: TransferTable) -> None:
    for draw, value in enumerate((40.0, 60.0)):
        table.add(_cell("1", draw, value))
    table.add(_cell("2", 0, 41.5))
    page = table.path.with_suffix(".md").read_text()
    assert page.startswith("# Transfer of `last.ckpt`\n\nLogistic regression on frozen features:")
    # sqrt(((40 - 50)^2 + (60 - 50)^2) / (2 - 1))
    assert "| pets | 1 | top 1 | 2 | 50.00 ± 14.14 | 50.00 ± 14.14 |" in page
    assert "| pets | 2 | top 1 | 1 | 41.50 | 41.50 |" in page


def test_a_network_and_protocol_have_one_table_in_whatever_order_they_are_named(
    tmp_path: Path,
) -> None:
    folder = RunFolder(tmp_path)
    one = TransferTable.of(folder, {"checkpoint": "last.ckpt", "solver": "lbfgs"})
    assert one.path == TransferTable.of(folder, {"solver": "lbfgs", **_IDENTITY}).path
    assert one.path != TransferTable.of(folder, {"solver": "saga", **_IDENTITY}).path
