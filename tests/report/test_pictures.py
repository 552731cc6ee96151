# SPDX-License-Identifier: MIT
"""The report as a whole, and what its pictures show."""

import re
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot as plt
from PIL import Image
from seaborn import FacetGrid

from solo_plugins.pictures.style import theme
from solo_plugins.report import write_report
from solo_plugins.report.figures import curves, outputs, pareto, sparsity
from solo_plugins.report.read import read_run
from solo_plugins.report.rows import Row, group

PICTURES = ("pareto.png", "sparsity.png", "outputs.png", "curves.png")
NAN = float("nan")


@pytest.fixture
def program(root: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that runs main_report.py with a command line."""

    def start(*arguments: str) -> None:
        monkeypatch.setattr(sys, "argv", ["main_report.py", *arguments])
        runpy.run_path(str(root / "main_report.py"), run_name="__main__")

    return start


def _colors(path: Path) -> int:
    image = Image.open(path).convert("RGB")
    return len(image.getcolors(maxcolors=image.width * image.height))


@pytest.fixture
def runs(run: Callable, knn: Callable, tmp_path: Path) -> Path:
    """Write two mu of our method, a baseline, and folders that cannot be used."""
    log = {
        "train_rectified_lp_jepa_loss_epoch": [9.0, 5.0, 4.0],
        "val_knn_acc1": [20.0, 50.0, 80.0],
    }
    for mu, l0 in ((-1.0, 0.14), (0.0, 0.45)):
        run(f"ours{mu}", mu=mu, linear=90 + mu, knn=knn(85 + mu, l0), log=log)
    run("vicreg", "vicreg", linear=88.0, knn=knn(84.0, 1.0))
    (run("no-checkpoint") / "last.ckpt").unlink()
    (run("half") / "summary.json").unlink()
    # as main_linear.py writes it, without a method
    (run("probe") / "config.yaml").write_text("name: probe\npretrained_feature_extractor: x\n")
    (run("bad-knn", "byol") / "knn.json").write_text("{")
    return tmp_path / "runs"


def test_the_program_writes_table_and_pictures(
    runs: Path, program: Callable, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    program(str(runs), "--out", str(tmp_path / "report"))
    assert capsys.readouterr().out == f"Report: {tmp_path / 'report' / 'report.md'}\n"
    text = (tmp_path / "report" / "report.md").read_text()
    assert "4 runs, 4 rows." in text
    assert "| vicreg | none | 3 | 1 (5) | 88.00 |" in text
    assert f"- `{runs / 'no-checkpoint'}`: there is no checkpoint" in text
    assert f"- `{runs / 'half'}`: there is no summary.json, the run is at epoch 3 of 3" in text
    assert f"- `{runs / 'bad-knn' / 'knn.json'}`: cannot be used" in text
    assert "- 1 folders of linear probes" in text
    assert "`pareto.png`: byol has no fraction of zeros or no linear probe on the backbone." in text
    for name in PICTURES:
        assert f"]({name})" in text
        assert _colors(tmp_path / "report" / name) > 100


def test_nothing_to_report_is_one_line(run_program: Callable, tmp_path: Path) -> None:
    done = run_program("main_report.py", str(tmp_path), "--out", str(tmp_path / "report"))
    assert done.returncode == 1
    assert re.fullmatch(r"error: Expected folders of runs, .* without any\.\n", done.stderr)
    assert not list(tmp_path.iterdir())


def test_a_picture_without_data_is_a_line(run: Callable, tmp_path: Path) -> None:
    run("a", "vicreg", log={"val_loss": [1.0]})
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "pareto.png").write_text("of an earlier report")
    text = write_report([tmp_path / "runs"], tmp_path / "out").read_text()
    for name in PICTURES:
        assert f"`{name}`: skipped, no run" in text
        assert not (tmp_path / "out" / name).exists()


def test_other_data_is_another_table_with_pictures_of_its_own(
    run: Callable, tmp_path: Path
) -> None:
    run("a")
    run("b", config={"data": {"dataset": "cifar100"}})
    text = write_report([tmp_path / "runs"], tmp_path / "out").read_text()
    assert "## digits, timm/resnet10t" in text
    assert "](cifar100-timm-resnet10t/curves.png)" in text
    assert (tmp_path / "out" / "digits-timm-resnet10t" / "curves.png").is_file()


def _rows(folder: Path) -> list[Row]:
    names = ("ours-1.0", "ours0.0", "vicreg")
    return group(read_run(folder / name) for name in names)[0]


def _lines(grid: FacetGrid, panel: int) -> dict[str, np.ndarray]:
    """Return the lines of a panel by the label that the legend gives their colour."""
    (legend,) = grid.figure.legends
    labels = {
        handle.get_color(): text.get_text()
        for handle, text in zip(legend.legend_handles, legend.get_texts(), strict=True)
    }
    lines = [line for line in grid.axes.flat[panel].lines if line.get_color() in labels]
    return {labels[line.get_color()]: line.get_xydata() for line in lines if len(line.get_xydata())}


def test_pareto_shows_zeros_against_accuracy(runs: Path) -> None:
    with theme():
        grid, notes = pareto(_rows(runs))
    assert grid is not None
    assert not notes[2:]
    assert grid.axes.flat[0].get_ylabel() == "top-1 accuracy (%)\nlinear probe on the backbone"
    lines = _lines(grid, 0)
    ours = [[86.0, 89.0], [55.0, 90.0]]  # 1 - .14 and 1 - .45, by mu
    np.testing.assert_allclose(lines["Rectified LpJEPA, p = 1"], ours)
    np.testing.assert_allclose(lines["vicreg"], [[0.0, 88.0]])


def test_labels_of_near_points_hide_neither_each_other_nor_points(run: Callable) -> None:
    for p in (1.0, 2.0):
        for mu, l0 in ((-1.0, 0.15), (-0.5, 0.2), (0.0, 0.45)):
            outputs = {"val_l0_sparsity_metric": l0 + 0.01 * p, "val_acc1": 80 + mu + 0.02 * p}
            run(f"run{p}{mu}", p=p, mu=mu, summary=outputs)
    folders = sorted(run("other", "vicreg").parent.glob("run*"))
    with theme():
        grid, _ = pareto(group(map(read_run, folders))[0])
    assert grid is not None
    (panel,) = grid.axes.flat
    boxes = [text.get_window_extent() for text in panel.texts]
    assert len(boxes) == 6
    assert all(box.count_overlaps(boxes) == 1 for box in boxes)  # itself
    points = np.concatenate([line.get_xydata() for line in panel.lines if len(line.get_xdata())])
    assert not any(box.count_contains(panel.transData.transform(points)) for box in boxes)


def test_sparsity_shows_the_closed_form(runs: Path) -> None:
    with theme():
        grid, _ = sparsity(_rows(runs))
    assert grid is not None
    panel = grid.axes.flat[0]
    (line,) = [line for line in panel.lines if line.get_ls() == "-" and len(line.get_xdata())]
    loc, percent = line.get_data()
    assert list(loc) == [-1.0, 0.0]
    # p = 1, sigma = 1 / sqrt 2, at and below zero
    np.testing.assert_allclose(percent, 50 * np.exp(np.sqrt(2) * np.array(loc)), rtol=1e-4)


def test_the_histograms_area_is_the_active_fraction(runs: Path) -> None:
    with theme():
        grid, _ = outputs(_rows(runs))
    assert grid is not None
    panel = grid.axes.flat[0]
    values, edges, _ = panel.patches[0].get_data()
    assert np.sum(values * np.diff(edges)) == pytest.approx(0.14)
    # the target's density integrates to its own fraction, but for what lies beyond the last edge
    x, density = panel.lines[0].get_data()
    assert np.trapezoid(density, x) == pytest.approx(0.5 * np.exp(-np.sqrt(2)), rel=0.01)


def test_curves_show_the_mean_over_seeds(run: Callable) -> None:
    logs = {1: [10.0, 30.0, NAN], 2: [20.0, 50.0, 60.0]}
    folders = [
        run(f"run{seed}", config={"seed": seed}, log={"val_acc1": log})
        for seed, log in logs.items()
    ]
    with theme():
        grid, _ = curves(group(map(read_run, folders))[0])
    assert grid is not None
    # epochs count from 1, and a seed that failed is not averaged away
    np.testing.assert_array_equal(_lines(grid, 0)["p=1, μ=0"], [[1, 15], [2, 40]])


def test_pictures_leave_nothing_behind(runs: Path, tmp_path: Path) -> None:
    own = plt.figure()
    settings = mpl.rcParams.copy()
    write_report([runs], tmp_path / "report")
    assert plt.get_fignums() == [own.number]
    assert mpl.rcParams == settings
    plt.close(own)
