# SPDX-License-Identifier: MIT
"""The order of tables, what is bold in them, and their files for other programs."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from solo_plugins.report.exports import write_tables
from solo_plugins.report.read import read_run
from solo_plugins.report.rows import Row, group
from solo_plugins.report.table import COLUMNS, best, cells, ranked

NAN = float("nan")


@pytest.fixture
def rows(run: Callable, knn: Callable) -> list[Row]:
    """Return rows of four methods; two of them are within the spread of the best."""
    # vicreg: mean 80, sample deviation sqrt(2)
    for seed, accuracy in ((1, 79.0), (2, 81.0)):
        folder = run(f"vicreg{seed}", "vicreg", config={"seed": seed}, linear=accuracy)
    run("byol", "byol", linear=78.7)
    run("ours", mu=-1.0, linear=78.5, knn=knn(70.0, 0.25))
    run("a&b_c", "a&b_c", summary={"val_acc1": 99.0})
    run("simclr", "simclr", linear=NAN)
    return ranked(group(map(read_run, sorted(folder.parent.iterdir())))[0])[0]


def test_the_most_accurate_comes_first(rows: list[Row]) -> None:
    assert [row.label for row in rows] == ["VICReg", "BYOL", "p = 1, μ = −1", "a&b_c", "SimCLR"]
    assert ranked(rows)[1] == "linear probe on the backbone"


def test_the_best_is_bold_with_what_is_within_its_spread(rows: list[Row]) -> None:
    # 80 - sqrt(2) = 78.59
    assert best(rows, "linear backbone") == {0, 1}
    # of one value there is no best, and of what is no accuracy neither
    assert best(rows, "kNN backbone") == best(rows, "active") == set()


def test_each_way_of_measuring_has_its_best_and_online_probes_are_shown(run: Callable) -> None:
    for name, online in (("simclr", 99.0), ("ncl", 60.0), ("vicreg", 70.0), ("byol", 50.0)):
        evaluated = {"linear": online - 20} if name in ("vicreg", "byol") else {}
        folder = run(name, name, summary={"val_acc1": online}, **evaluated)
    rows = ranked(group(map(read_run, sorted(folder.parent.iterdir())))[0])[0]
    shown = [(row.label, cells(row)["linear backbone"]) for row in rows]
    assert shown == [
        ("SimCLR", "99.00 (online)"),
        ("VICReg", "50.00"),
        ("NCL", "60.00 (online)"),
        ("BYOL", "30.00"),
    ]
    assert best(rows, "linear backbone") == {0, 1}


def test_no_table_has_more_than_ten_columns(rows: list[Row]) -> None:
    assert max(map(len, COLUMNS.values())) <= 10
    assert {column for columns in COLUMNS.values() for column in columns} == set(cells(rows[0]))


def test_csv_and_json_have_the_numbers_as_they_are(rows: list[Row], tmp_path: Path) -> None:
    write_tables(rows, tmp_path)
    first, _, ours, online, failed = json.loads((tmp_path / "table.json").read_text())
    assert online["linear_backbone"] == {"mean": 99.0, "std": None, "n": 1, "how": "online"}
    assert (first["name"], first["method"], first["seeds"]) == ("VICReg", "vicreg", [1, 2])
    wanted = {"mean": 80.0, "std": pytest.approx(2**0.5), "n": 2, "how": "usual"}
    assert first["linear_backbone"] == wanted
    assert first["knn_backbone"] is first["target"] is None
    assert (ours["target"]["p"], ours["target"]["mu"]) == (1.0, -1.0)
    assert failed["linear_backbone"] == {"mean": None, "std": None, "n": 1, "how": "usual"}
    table = pd.read_csv(tmp_path / "table.csv")
    assert table["linear_backbone_mean"].tolist()[:3] == [80.0, 78.7, 78.5]
    assert table["target_mu"].tolist()[2] == -1.0
    assert table["l0_mean"].dropna().tolist() == [0.25]


def test_latex_is_a_table_of_booktabs(rows: list[Row], tmp_path: Path) -> None:
    write_tables(rows, tmp_path)
    text = (tmp_path / "table-accuracy.tex").read_text()
    for rule in (r"\toprule", r"\midrule", r"\bottomrule"):
        assert text.count(rule) == 1
    assert r"\begin{tabular}{llrrrrrrrr}" in text
    assert r"\textbf{80.00 $\pm$ 1.41}" in text
    assert r"Rectified LpJEPA & p = 1, $\mu$ = $-$1 & 3 & 1 (5) & 78.50 & -- &" in text
    assert r"a\&b\_c & none" in text
    before, _, after = text.partition(r"\begin{tabular}")
    assert before.count("{") - before.count("}") == 1  # the box, which a wide table is scaled to
    assert r"\linewidth" in before
    assert after.rstrip().endswith(r"\end{tabular}" + "\n}")
    body = re.findall(r"^(.*?) \\\\$", text, re.MULTILINE)
    assert {len(re.split(r"(?<!\\)&", line)) for line in body} == {10}
