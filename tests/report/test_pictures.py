# SPDX-License-Identifier: MIT
"""The report as a whole, and what its pictures show."""

import itertools
import math
import re
import runpy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
import scipy.integrate
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

from solo_plugins.errors import ConfigurationError
from solo_plugins.pictures.style import WIDTHS, looks, theme
from solo_plugins.report import write_report
from solo_plugins.report.figures import Picture, curves, outputs, pareto, sparsity
from solo_plugins.report.read import read_run
from solo_plugins.report.rows import Row, group

PICTURES = ("pareto", "sparsity", "outputs", "curves")
NAN = float("nan")


@pytest.fixture
def program(root: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that runs main_report.py with a command line."""

    def start(*arguments: str) -> None:
        monkeypatch.setattr(sys, "argv", ["main_report.py", *arguments])
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(root / "main_report.py"), run_name="__main__")
        assert not end.value.code

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
    (run("no-checkpoint", "simclr", linear=70.0) / "last.ckpt").unlink()
    (run("half") / "summary.json").unlink()
    # as main_linear.py writes it, without a method
    (run("probe") / "config.yaml").write_text("name: probe\npretrained_feature_extractor: x\n")
    (run("bad-knn", "byol") / "knn.json").write_text("{")
    return tmp_path / "runs"


def test_the_program_writes_table_and_pictures(
    runs: Path, program: Callable, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    program(str(runs), "--out", str(tmp_path / "report"), "--formats", "png")
    assert capsys.readouterr().out == f"Report: {tmp_path / 'report' / 'report.md'}\n"
    text = (tmp_path / "report" / "report.md").read_text()
    assert "5 runs, 5 rows." in text
    assert "| SimCLR | none | 3 | 1 (5) | 70.00 |" in text
    assert "| VICReg | none | 3 | 1 (5) | 88.00 |" in text
    # the highest; the others are below it, and there is no spread
    assert "| Rectified LpJEPA | p = 1, μ = 0 | 3 | 1 (5) | **90.00** |" in text
    assert f"- `{runs / 'half'}`: there is no summary.json, the run is at epoch 3 of 3" in text
    assert f"- `{runs / 'bad-knn' / 'knn.json'}`: cannot be used" in text
    assert "- 1 folder of linear probes" in text
    note = "BYOL has no fraction of active outputs, which `main_knn.py` measures"
    assert f"`pareto`: {note}." in text
    for name, suffix in itertools.product(PICTURES, ("", "-single")):
        path = tmp_path / "report" / f"{name}{suffix}.png"
        assert f"]({path.name})" in text
        assert _colors(path) > 100


def test_nothing_to_report_is_one_line(run_program: Callable, tmp_path: Path) -> None:
    done = run_program("main_report.py", str(tmp_path), "--out", str(tmp_path / "report"))
    assert done.returncode == 1
    assert re.fullmatch(r"error: Expected folders of runs, .* without any\.\n", done.stderr)
    assert not list(tmp_path.iterdir())


def test_a_picture_without_data_is_a_line(run: Callable, tmp_path: Path) -> None:
    run("a", "vicreg", log={"val_loss": [1.0]})
    earlier = [tmp_path / "out" / name for name in ("pareto.png", "curves-knn-single.svg")]
    (tmp_path / "out").mkdir()
    for path in (*earlier, tmp_path / "out" / "pareto-my-own.png"):
        path.write_text("of an earlier report")
    text = write_report([tmp_path / "runs"], tmp_path / "out").read_text()
    for name in PICTURES:
        assert f"`{name}`: skipped, no run" in text
    assert not any(path.exists() for path in earlier)
    assert (tmp_path / "out" / "pareto-my-own.png").exists()


def test_other_data_is_another_table_with_pictures_of_its_own(
    run: Callable, tmp_path: Path
) -> None:
    run("a")
    run("b", config={"data": {"dataset": "cifar100"}})
    text = write_report([tmp_path / "runs"], tmp_path / "out", formats=["png"]).read_text()
    assert "## digits, timm/resnet10t" in text
    assert "](cifar100-timm-resnet10t/curves.png)" in text
    assert (tmp_path / "out" / "digits-timm-resnet10t" / "curves.png").is_file()
    assert not list((tmp_path / "out").rglob("*.pdf"))


def test_nothing_of_an_earlier_report_is_left_when_data_are_added_or_taken_away(
    run: Callable, tmp_path: Path
) -> None:
    def written(*runs: str) -> set[str]:
        write_report([tmp_path / "runs" / name for name in runs], out, formats=["png"])
        return {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}

    out = tmp_path / "out"
    run("a")
    run("b", config={"data": {"dataset": "cifar100"}})
    alone, both = written("a"), written("a", "b")
    assert "table-accuracy.tex" in alone
    assert both - {"report.md"} == {name for name in both if "/" in name}
    (out / "notes.txt").touch()
    assert written("a") == {*alone, "notes.txt"}
    assert [path.name for path in out.iterdir() if path.is_dir()] == []


def test_a_format_that_does_not_exist_is_refused(run: Callable, tmp_path: Path) -> None:
    run("a")
    with pytest.raises(ConfigurationError, match="`formats` to be one of png, pdf, svg but got"):
        write_report([tmp_path / "runs"], tmp_path / "out", formats=["gif"])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("width", [3.0, 20.5, math.nan])
def test_a_width_of_no_page_is_refused(width: float, runs: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"`width` to be from 3.3 to 20.0 inches but got"):
        write_report([runs], tmp_path / "out", width=width)
    assert not (tmp_path / "out").exists()


def test_pictures_are_as_wide_as_the_page(runs: Path, tmp_path: Path) -> None:
    text = write_report([runs], tmp_path / "out", formats=["png"], width=5.5).read_text()
    assert "5.5 inches wide as shown here, and 3.3 inches" in text
    for name, inches in (("pareto", 5.5), ("pareto-single", 3.3)):
        with Image.open(tmp_path / "out" / f"{name}.png") as picture:
            assert picture.width == pytest.approx(inches * 300, abs=1)


Draw = Callable[..., Picture]


@pytest.fixture
def draw() -> Iterator[Draw]:
    """Return a function that draws a picture of rows in the report's look."""
    with theme():
        yield lambda picture, rows, size="double": picture(
            rows, looks(row.series for row in rows), WIDTHS.get(size, size)
        )


def _rows(folder: Path) -> list[Row]:
    return group(read_run(path) for path in sorted(folder.iterdir()))[0]


def _usable(folder: Path) -> list[Row]:
    return group(read_run(folder / name) for name in ("ours-1.0", "ours0.0", "vicreg"))[0]


def _alone(picture: Picture) -> Figure:
    (figure,) = picture.figures.values()
    return figure


def _legend(figure: Figure) -> dict[str, Any]:
    (legend,) = figure.legends
    texts = [text.get_text().replace("\n", " ") for text in legend.get_texts()]
    return dict(zip(texts, legend.legend_handles, strict=True))


def _lines(figure: Figure, panel: int) -> dict[str, np.ndarray]:
    """Return the lines of a panel by the label that the legend gives their colour."""
    handles = _legend(figure).items()
    labels = {each.get_color(): text for text, each in handles if isinstance(each, Line2D)}
    lines = [line for line in figure.axes[panel].lines if line.get_linestyle() == "-"]
    return {labels[line.get_color()]: line.get_xydata() for line in lines}


def test_pareto_shows_accuracy_against_active_outputs(runs: Path, draw: Draw) -> None:
    picture = draw(pareto, _usable(runs))
    assert not picture.notes[2:]
    figure = _alone(picture)
    assert figure.axes[0].get_title() == "Backbone: linear probe"
    lines = _lines(figure, 0)
    ours = [[14.0, 89.0], [45.0, 90.0]]  # by mu
    np.testing.assert_allclose(lines["Rectified LpJEPA, p = 1"], ours)
    np.testing.assert_allclose(lines["VICReg"], [[100.0, 88.0]])


# Points of one mu that are apart have a label each, those at one place have one together.
@pytest.mark.parametrize(("apart", "labels"), [(0.01, 3), (0.12, 6)])
@pytest.mark.parametrize("size", WIDTHS)
def test_labels_of_near_points_hide_neither_each_other_nor_points(
    size: str, apart: float, labels: int, run: Callable, draw: Draw
) -> None:
    for p in (1.0, 2.0):
        for mu, l0 in ((-1.0, 0.15), (-0.5, 0.2), (0.0, 0.45)):
            values = {"val_l0_sparsity_metric": l0 + apart * p, "val_acc1": 80 + mu + 0.02 * p}
            run(f"run{p}{mu}", p=p, mu=mu, summary=values)
    figure = _alone(draw(pareto, _rows(run("other", "vicreg").parent), size))
    (panel,) = figure.axes
    boxes = [text.get_window_extent() for text in panel.texts]
    assert len(boxes) == labels
    assert all(box.count_overlaps(boxes) == 1 for box in boxes)  # itself
    points = np.concatenate([line.get_xydata() for line in panel.lines])
    assert not any(box.count_contains(panel.transData.transform(points)) for box in boxes)


def test_labels_stand_beside_their_line(run: Callable, draw: Draw) -> None:
    for mu, l0, accuracy in ((1.0, 0.9, 78.0), (0.0, 0.5, 76.0), (-2.0, 0.1, 72.0)):
        values = {"val_l0_sparsity_metric": l0, "val_acc1": accuracy}
        folder = run(f"run{mu}", mu=mu, summary=values)
    (panel,) = _alone(draw(pareto, _rows(folder.parent), "single")).axes
    boxes = [text.get_window_extent() for text in panel.texts]
    paths = [line.get_transform().transform_path(line.get_path()) for line in panel.lines]
    assert len(boxes) == 3
    assert not any(path.intersects_bbox(box, filled=False) for path in paths for box in boxes)


def test_the_target_of_a_single_mu_is_a_piece_of_its_curve(run: Callable, draw: Draw) -> None:
    folder = run("a", mu=-1.0, summary={"val_l0_sparsity_metric": 0.3})
    panel = _alone(draw(sparsity, _rows(folder.parent), "single")).axes[0]
    (target,) = (line for line in panel.lines if line.get_linestyle() == "--")
    mu, share = target.get_xydata().T
    np.testing.assert_allclose((mu[0], mu[-1]), (-1.2, -0.8))
    # p = 1: exp(mu / sigma) / 2 below 0, sigma = 1 / sqrt(2)
    np.testing.assert_allclose(share, 50 * np.exp(mu * np.sqrt(2)), rtol=1e-4)


def test_a_point_without_a_line_has_its_mu_in_the_legend(run: Callable, draw: Draw) -> None:
    for rate in (0.1, 0.2):
        values = {"val_l0_sparsity_metric": 0.5, "val_acc1": 80.0 + rate}
        run(f"run{rate}", mu=-0.5, config={"optimizer": {"lr": rate}}, summary=values)
    figure = _alone(draw(pareto, _rows(run("other", "vicreg").parent)))
    assert not figure.axes[0].texts
    names = [f"Rectified LpJEPA, p = 1, μ = −0.5 (lr = {rate})" for rate in (0.1, 0.2)]
    assert list(_legend(figure))[:2] == names


def test_what_is_measured_online_is_said_alike(run: Callable, draw: Draw, tmp_path: Path) -> None:
    values = {"val_l0_sparsity_metric": 0.5, "val_knn_acc1": 80.0}
    run("a", summary=values)
    figure = _alone(draw(pareto, _rows(tmp_path / "runs")))
    assert figure.axes[0].get_title() == "Backbone: kNN (online)"
    assert any(text.startswith("open marker") and "(online)" in text for text in _legend(figure))
    text = write_report([tmp_path / "runs"], tmp_path / "out", formats=[]).read_text()
    assert "| 80.00 (online) | not run | 0.500 (online) |" in text
    assert "sorted by kNN (online) on the backbone" in text


def test_sparsity_shows_the_closed_form(runs: Path, draw: Draw) -> None:
    panel = _alone(draw(sparsity, _usable(runs))).axes[0]
    (line,) = [line for line in panel.lines if line.get_linestyle() == "--"]
    loc, percent = line.get_data()
    assert (min(loc), max(loc)) == (-1.0, 0.0)
    # p = 1, sigma = 1 / sqrt 2, at and below zero
    np.testing.assert_allclose(percent, 50 * np.exp(np.sqrt(2) * np.array(loc)), rtol=1e-4)


def test_the_histograms_area_is_the_active_fraction(runs: Path, draw: Draw) -> None:
    panel = _alone(draw(outputs, _usable(runs))).axes[0]
    values, edges, _ = panel.patches[0].get_data()
    assert np.sum(values * np.diff(edges)) == pytest.approx(0.14)
    # the target's density integrates to its own fraction, but for what lies beyond the last edge
    x, density = panel.lines[0].get_data()
    assert scipy.integrate.trapezoid(density, x) == pytest.approx(
        0.5 * np.exp(-np.sqrt(2)), rel=0.01
    )


def test_curves_show_the_mean_over_seeds(run: Callable, draw: Draw) -> None:
    logs = {1: [10.0, 30.0, NAN], 2: [20.0, 50.0, 60.0]}
    for seed, log in logs.items():
        folder = run(f"run{seed}", config={"seed": seed}, log={"val_acc1": log})
    figure = _alone(draw(curves, _rows(folder.parent)))
    # epochs count from 1, and a seed that failed is not averaged away
    np.testing.assert_array_equal(
        _lines(figure, 0)["Rectified LpJEPA, p = 1, μ = 0"], [[1, 15], [2, 40], [3, NAN]]
    )
    (band,) = figure.axes[0].collections
    (path,) = band.get_paths()
    # the sample standard deviation of two values d apart is d / sqrt 2
    for edge in (15 - 50**0.5, 15 + 50**0.5, 40 - 200**0.5, 40 + 200**0.5):
        assert np.isclose(path.vertices[:, 1], edge).any()
    assert "band: standard deviation over seeds" in _legend(figure)


def test_accuracies_that_hardly_differ_do_not_fill_a_panel(run: Callable, draw: Draw) -> None:
    for rate in (0.1, 0.2):
        values = {"val_l0_sparsity_metric": 0.5, "val_acc1": 99.7 + rate}
        run(f"run{rate}", config={"optimizer": {"lr": rate}}, summary=values)
    figure = _alone(draw(pareto, _rows(run("other", "vicreg").parent)))
    low, high = figure.axes[0].get_ylim()
    assert 98.5 < low < 99.5
    assert 100 < high < 101


def test_curves_have_their_target_dashed(run: Callable, draw: Draw) -> None:
    folder = run("a", mu=0.0, log={"val_l0_sparsity_metric": [0.9, 0.6, 0.5]})
    figure = _alone(draw(curves, _rows(folder.parent)))
    dashed = [line for line in figure.axes[0].lines if line.get_linestyle() == "--"]
    assert [line.get_ydata() for line in dashed] == [[pytest.approx(50), pytest.approx(50)]]
    assert "dashed: target" in _legend(figure)


def test_a_target_that_several_rows_have_is_in_no_ones_colour(run: Callable, draw: Draw) -> None:
    for rate in (0.1, 0.2):
        log = {"val_l0_sparsity_metric": [0.6, 0.5, 0.4]}
        run(f"same{rate}", config={"optimizer": {"lr": rate}}, log=log)
    folder = run("other", mu=-1.0, log=log)
    (panel,) = _alone(draw(curves, _rows(folder.parent))).axes
    plain, dashed = (
        [line for line in panel.lines if line.get_linestyle() == style] for style in ("-", "--")
    )
    colors = [line.get_color() for line in plain]
    assert [line.get_color() in colors for line in dashed] == [True, False]


# More than a panel shows legibly, one that matplotlib leaves out of legends, one that it takes for
# a formula, and one that is wider than a page.
NAMES = ("_own", "cost in $x$ and $y$", "long " * 15, *(f"method-{i}" for i in range(6)))


@pytest.fixture
def many(run: Callable, knn: Callable) -> list[Row]:
    """Return rows of many methods."""
    for number, name in enumerate(NAMES):
        log = {"val_acc1": [1.0, 2.0, 3.0 + number]}
        folder = run(f"run{number}", name, linear=50.0 + number, knn=knn(40.0, 0.1), log=log)
    return _rows(folder.parent)


@pytest.mark.parametrize("size", WIDTHS)
def test_a_legend_has_every_entry_within_the_picture(
    size: str, many: list[Row], draw: Draw
) -> None:
    figure = _alone(draw(pareto, many, size))
    assert {text.strip() for text in _legend(figure)} == {name.strip() for name in NAMES}
    figure.canvas.draw()
    box = figure.legends[0].get_window_extent()
    assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
    assert figure.bbox.y0 <= box.y0
    assert all(box.y1 <= panel.get_tightbbox().y0 + 1 for panel in figure.axes)
    assert figure.get_figwidth() == WIDTHS[size]


def test_many_curves_have_a_panel_each(many: list[Row], draw: Draw) -> None:
    picture = draw(curves, many)
    assert list(picture.figures) == ["-linear"]
    panels = picture.figures["-linear"].axes
    assert len(panels) == len(NAMES)
    own = [line for line in panels[-1].lines if line.get_linewidth() > 1]
    assert own[0].get_ydata()[-1] in {3.0 + number for number in range(len(NAMES))}


def test_losses_of_many_runs_share_one_logarithmic_axis(run: Callable, draw: Draw) -> None:
    for number in range(8):
        log = {"train_rectified_lp_jepa_loss_epoch": [2.0**number, 2.0, 1.0]}
        folder = run(f"run{number}", mu=-0.5 * number, log=log)
    figure = draw(curves, _rows(folder.parent)).figures["-loss"]
    figure.canvas.draw()
    for panel in figure.axes:
        heights = panel.transData.transform([(1, value) for value in (1, 10, 100)])[:, 1]
        assert heights[2] - heights[1] == pytest.approx(heights[1] - heights[0], rel=1e-6)


def test_a_method_has_one_look_in_all_pictures(runs: Path, draw: Draw) -> None:
    rows = _usable(runs)
    (wanted,) = {look for name, look in looks(row.series for row in rows).items() if "VIC" in name}
    for picture in (pareto, curves):
        handle = _legend(_alone(draw(picture, rows)))["VICReg"]
        assert (to_rgb(handle.get_color()), handle.get_marker()) == wanted


def test_pictures_can_be_read_at_their_width(runs: Path, draw: Draw) -> None:
    rows = _usable(runs)
    for picture, size in zip(
        (pareto, sparsity, outputs, curves), itertools.cycle(WIDTHS), strict=False
    ):
        figure = _alone(draw(picture, rows, size))
        assert figure.get_figwidth() == WIDTHS[size]
        texts = [text for text in figure.findobj(mpl.text.Text) if text.get_text()]
        assert min(text.get_fontsize() for text in texts) >= 7  # points, in print


@pytest.mark.parametrize("size", [*WIDTHS, 5.5, 4.0])
@pytest.mark.parametrize("mu", [-1.0, -1.25, 0.5])
def test_titles_and_labels_of_panels_are_within_the_picture(
    size: str | float, mu: float, run: Callable, knn: Callable, draw: Draw
) -> None:
    for number in range(4):
        run(f"run{number}", mu=mu - number, knn=knn(90.0, 0.002))
    figure = _alone(
        draw(outputs, _rows(run("last", mu=mu, p=2.0, knn=knn(90.0, 0.002)).parent), size)
    )
    figure.canvas.draw()
    for panel in figure.axes:
        for text in filter(mpl.text.Text.get_text, (panel.title, panel.xaxis.label)):
            box = text.get_window_extent()
            assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1, text.get_text()


def test_pictures_leave_nothing_behind(runs: Path, tmp_path: Path) -> None:
    own = plt.figure()
    settings = mpl.rcParams.copy()
    write_report([runs], tmp_path / "report", formats=[])
    assert plt.get_fignums() == [own.number]
    assert mpl.rcParams == settings
    plt.close(own)
