# SPDX-License-Identifier: MIT
"""The notebook is what its source says, and runs."""

import re
from collections.abc import Callable
from pathlib import Path

import jupytext
import matplotlib
import pytest
from nbclient import NotebookClient

SOURCE = "examples/rectified_lpjepa.py"


def test_the_notebook_is_its_source_with_what_it_prints_and_draws(root: Path) -> None:
    source, notebook = (
        jupytext.read(root / SOURCE.replace("py", kind)) for kind in ("py", "ipynb")
    )
    wanted, got = ([(c.cell_type, c.source) for c in book.cells] for book in (source, notebook))
    assert got == wanted, "`make notebook` writes it anew"
    _check_outputs(notebook.cells)
    printed = [out.text for out in _outputs(notebook.cells) if out.output_type == "stream"]
    assert not any("it/s" in text or "\r" in text for text in printed)  # no bar


def test_its_links_are_pages(root: Path) -> None:
    text = (root / SOURCE).read_text()
    pages = re.findall(r"\]\((?!https://arxiv)([^)]*)\)", text)
    assert len(pages) > 3
    assert all((root / "examples" / page).is_file() for page in pages)


def test_its_cells_run_in_order(root: Path, run_program: Callable, tmp_path: Path) -> None:
    text = (root / SOURCE).read_text()
    assert text.count("EPOCHS = 15") == text.count("DIRECTIONS = 1024") == 1
    short = text.replace("EPOCHS = 15", "EPOCHS = 1").replace("= 1024", "= 64")
    (tmp_path / "notebook.py").write_text(short)
    done = run_program("-W", "ignore", "notebook.py", cwd=tmp_path, MPLBACKEND="Agg")
    assert done.returncode == 0, done.stderr
    assert "epoch 1/1: loss " in done.stdout
    assert done.stdout.count("linear probe ") == 4
    assert "of 128 outputs are active" in done.stdout


# what torch's tensors say to numpy, within matplotlib
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("DATA", '"cifar10"', "Expected DATA to be digits or cifar100, got 'cifar10'."),
        ("P", "-1", "Expected P to be positive but got -1."),
        ("BATCH", "5000", "Expected BATCH to be at most the number of images, 1438, got 5000."),
    ],
)
def test_a_setting_that_cannot_work_is_said(
    setting: str, value: str, said: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = re.sub(
        rf"^{setting} = [^#\n]*",
        f"{setting} = {value}  ",
        (root / SOURCE).read_text(),
        count=1,
        flags=re.MULTILINE,
    )
    text = text.replace("plt.show()", "plt.close()")
    with (
        matplotlib.rc_context({"backend": "agg"}),
        pytest.raises(ValueError, match=re.escape(said)),
    ):
        exec(compile(text, SOURCE, "exec"), {"__name__": "notebook"})


# a kernel takes ten seconds to import
@pytest.mark.torture
def test_the_notebook_runs(root: Path, tmp_path: Path) -> None:
    book = jupytext.read(root / SOURCE.replace("py", "ipynb"))
    NotebookClient(book, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    _check_outputs(book.cells)


def _outputs(cells: list) -> list:
    return [out for cell in cells for out in cell.get("outputs", [])]


def _check_outputs(cells: list) -> None:
    outputs = _outputs(cells)
    printed = "".join(out.get("text", "") for out in outputs)
    assert "epoch 14/15: loss " in printed
    assert printed.count("linear probe ") == 4
    # densities, views, directions, shares, and what six outputs respond to
    assert sum("image/png" in out.get("data", {}) for out in outputs) == 4 + 6
