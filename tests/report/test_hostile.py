# SPDX-License-Identifier: MIT
"""Folders of strangers in a report: nothing runs, leaks, blocks, or takes the report away."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from solo_plugins.report import document, write_report

_EXTRA = ("metrics.csv", "knn.json")  # without which a run is one all the same
MARKS = ("<script", "<b>", "<img", "](http", "](java", "://evil", "www.evil", "\n# h", "\x1b")
NAME = (
    "<script>x</script> [a](http://evil.com) ![b](javascript:c) www.evil.com\n# h\n|\x1b[31m\u202e"
)


def _summary(**changes: Any) -> Callable[[Path], Any]:
    return lambda run: (run / "summary.json").write_text(
        json.dumps({**json.loads((run / "summary.json").read_text()), **changes})
    )


def _config(key: str, value: Any) -> Callable[[Path], None]:
    def change(run: Path) -> None:
        cfg = OmegaConf.load(run / "config.yaml")
        OmegaConf.update(cfg, key, value, force_add=True)
        OmegaConf.save(cfg, run / "config.yaml")

    return change


def _text(name: str, text: str) -> Callable[[Path], Any]:
    return lambda run: (run / name).write_text(text)


def _described(**target: Any) -> Callable[[Path], Any]:
    whole = {"p": 1.0, "loc": 0.0, "scale": 1.0, "rectified": True, "l0": 0.5}
    target = {**whole, "location_settings": [], **target}
    return _summary(description={"label": "a", "loss": "b", "series": "c", "target": target})


def _as_json(**changes: Any) -> Callable[[Path], None]:
    def change(run: Path) -> None:
        cfg: Any = OmegaConf.to_container(OmegaConf.load(run / "config.yaml"))
        (run / "config.yaml").unlink()
        (run / "args.json").write_text(json.dumps({**cfg, **changes}))

    return change


def _histogram(edges: list[float], counts: list[float]) -> Callable[[Path], Any]:
    outputs = {"l0": 0.5, "histogram": {"edges": edges, "counts": counts}}
    return _text("knn.json", json.dumps({"results": [], "outputs": outputs}))


LEFT_OUT = {
    "environment": (_text("config.yaml", "name: ${oc.env:SECRET}"), "references"),
    "escaped": (_text("config.yaml", 'name: "\\x24{oc.env:SECRET}"'), "references"),
    "json": (_as_json(name="${oc.env:SECRET}"), "never resolved"),
    "twice": (_as_json(name="${a}", a="${oc.env:SECRET}"), "never resolved"),
    "command": (_text("config.yaml", 'name: !!python/object/apply:os.system ["id"]'), "tags"),
    "no value": (_config("name", "???"), "`name` has no value"),
    "commit": (_summary(commit={}), "`commit` is {}, not a text"),
    "infinite": (_summary(epochs=float("inf")), "`epochs` is inf"),
    "endless": (_summary(epochs=1e308), "`epochs` is 1e+308"),
    "percent": (_summary(val_acc1=1e308), "`online_backbone` is 1e+308, not from 0 to 100"),
    "number": (_text("summary.json", '{"epochs": ' + "9" * 9999 + "}"), "Exceeds the limit"),
    "deep": (_text("summary.json", '{"a":' * 100_000), "more than 32 levels"),
    "target": (_described(p=-1.0), "the target's `p` is -1.0"),
    "scale": (_described(scale=1e300), "the target's `scale` is 1e+300"),
    "seed": (_config("seed", {"a": 1}), "`seed` is to be a whole number"),
    "method": (_config("method", ["x"]), "`method` is to be a text"),
    "long": (_config("data.dataset", "x" * 10**5), "`data.dataset` is to be a text of at most 100"),
    "block": (_config("data", None), "`data` is to be a block of settings"),
    "nodes": (_config("num_nodes", "a" * 99), "`num_nodes` is to be a whole number"),
    "exponent": (_config("method_kwargs.lp_norm_parameter", 1e-300), "cannot be used"),
}


FILE_LEFT_OUT = {
    "log": (_text("metrics.csv", "epoch,val_acc1\n0,1e308\n"), "metrics.csv"),
    "epochs": (_text("metrics.csv", "epoch,val_acc1\n" + "9" * 30 + ",1\n"), "metrics.csv"),
    "edges": (_histogram([0, float("inf"), 1], [1, 1]), "knn.json"),
    "bins": (_histogram(list(range(10_002)), [1] * 10_001), "knn.json"),
    "accuracy": (_text("linear-backbone.json", '{"acc1": 1e308}'), "linear-backbone.json"),
    "table": (_text("transfer-a.json", '{"identity": {}, "cells": [{}]}'), "transfer-a.json"),
    "cell": (
        _text("transfer-a.json", '{"identity": {}, "cells": [{"dataset": {}, "shots": "1"}]}'),
        "transfer-a.json",
    ),
}


NAMES: dict[str, Callable[[Path], Any]] = {
    "name": _config("name", NAME[:100]),
    "data": _config("data.dataset", NAME[:100]),
    "backbone": _config("backbone.name", NAME[40:]),
    "method": _config("method", NAME[:100]),
    "hash": _summary(commit=NAME),
    "label": _summary(description={"label": NAME, "loss": NAME, "series": NAME, "target": None}),
    "folder": lambda run: run.rename(run.with_name(NAME.replace("/", "_")[:200])),
    "bytes": lambda run: run.rename(run.with_name("\udcff")),
    "evaluation": lambda run: (run / f"linear-backbone@{NAME.replace('/', '_')}.json").write_text(
        json.dumps({"features": NAME, "acc1": 5.0})
    ),
    "reference": _as_json(two={"seed": 7}, seed="${two.seed}"),
}
INSTEAD = {
    "pipe": "config.yaml",
    "folder": "summary.json",
    "loop": "metrics.csv",
    "dangling": "config.yaml",
    "device": "knn.json",
    "terabyte": "metrics.csv",
}


@pytest.fixture(scope="module")
def report(
    run_in: Callable, put_instead: Callable, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """Return the text of one report on all strangers and a neighbour, without pictures."""
    parent = tmp_path_factory.mktemp("hostile")
    run_in(parent / "runs" / "neighbour", "vicreg", config={"name": "neighbour"})
    strangers = {
        **{f"out-{kind}": spoil for kind, (spoil, _) in LEFT_OUT.items()},
        **{f"file-{kind}": spoil for kind, (spoil, _) in FILE_LEFT_OUT.items()},
        **{f"name-{kind}": spoil for kind, spoil in NAMES.items()},
        **{
            f"instead-{kind}": lambda run, kind=kind, name=name: put_instead(kind, run / name)
            for kind, name in INSTEAD.items()
        },
    }
    for number, (name, spoil) in enumerate(strangers.items(), 100):
        spoil(run_in(parent / "runs" / name, config={"seed": number, "name": name}, linear=50.0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SECRET", "the secret")
        patch.setattr(document, "_FIGURES", {})
        return write_report([parent / "runs"], parent / "report").read_text()


def test_nothing_of_a_stranger_leaks_or_takes_effect(report: str) -> None:
    assert "the secret" not in report
    # but for where a link leads, below the report's own folder
    shown = re.sub(r"\]\([\w./-]+\)", "]()", report)
    assert not [mark for mark in MARKS if mark in shown]
    # The report's own: title, three sections by data and backbone, three lists
    assert sum(line.startswith("#") for line in report.split("\n")) == 7


def test_what_is_whole_is_reported(report: str) -> None:
    assert "| VICReg | none | 3 |" in report
    assert "&#60;script&#62;x&#60;/script&#62;" in report
    assert "\n| 1 (7) |" in report or "1 (7)" in report  # of a reference within args.json
    used = 1 + len(NAMES) + len(FILE_LEFT_OUT) + sum(INSTEAD[k] in _EXTRA for k in INSTEAD)
    assert f"{used} runs" in report


def _line(report: str, folder: str) -> str:
    (line,) = (line for line in report.split("\n") if f"/{folder}" in line and line[:2] == "- ")
    return line


@pytest.mark.parametrize("kind", LEFT_OUT)
def test_a_stranger_is_left_out_with_the_reason(kind: str, report: str) -> None:
    line = _line(report, f"out-{kind}`").replace("&#36;", "$")
    assert LEFT_OUT[kind][1] in line


@pytest.mark.parametrize("kind", FILE_LEFT_OUT)
def test_a_strangers_file_is_left_out(kind: str, report: str) -> None:
    assert f"/{FILE_LEFT_OUT[kind][1]}`: cannot be used: " in _line(report, f"file-{kind}/")


@pytest.mark.parametrize("kind", INSTEAD)
def test_what_stands_in_a_files_place_is_a_line(kind: str, report: str) -> None:
    line = _line(report, f"instead-{kind}")
    assert INSTEAD[kind] in line
    assert "cannot be used: " in line


@pytest.mark.filterwarnings("ignore:Glyph")
def test_pictures_take_any_name_and_number(
    run: Callable, knn: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = {name: document._FIGURES[name] for name in ("outputs", "curves")}
    monkeypatch.setattr(document, "_FIGURES", figures)
    config = {"name": "$\\bad{$", "seed": 1, "data": {"dataset": "$\\frac{"}}
    first = run("a", config=config, knn=knn(90.0, 0.2), linear=1.0)
    _described(loc=-1e17, scale=1e17)(first)
    second = run("b", config={**config, "name": NAME[40:], "seed": 2})
    label = {"label": "$\\frac{" + "x" * 999, "loss": "a", "series": "$_{", "target": None}
    _summary(description=label)(second)
    text = write_report([tmp_path / "runs"], tmp_path / "report", formats=["png"]).read_text()
    assert "2 runs, 2 rows." in text
    assert len(list((tmp_path / "report").glob("*.png"))) == 4  # at two widths
