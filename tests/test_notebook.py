# SPDX-License-Identifier: MIT
"""The notebook is what its source says, and runs."""

from collections.abc import Callable
from pathlib import Path

import jupytext
import pytest
from nbclient import NotebookClient

SOURCE = "examples/rectified_lpjepa.py"


def test_the_notebook_is_its_source(root: Path) -> None:
    source, notebook = (
        jupytext.read(root / SOURCE.replace("py", kind)) for kind in ("py", "ipynb")
    )
    wanted, got = ([(c.cell_type, c.source) for c in book.cells] for book in (source, notebook))
    assert got == wanted, "`make notebook` writes it anew"
    assert not any(cell.get("outputs") for cell in notebook.cells)


def test_its_cells_run_in_order(root: Path, run_program: Callable, tmp_path: Path) -> None:
    text = (root / SOURCE).read_text()
    assert text.count("EPOCHS = 15") == text.count("DIRECTIONS = 1024") == 1
    short = text.replace("EPOCHS = 15", "EPOCHS = 1").replace("= 1024", "= 64")
    (tmp_path / "notebook.py").write_text(short)
    done = run_program("-W", "ignore", "notebook.py", cwd=tmp_path, MPLBACKEND="Agg")
    assert done.returncode == 0, done.stderr
    assert "epoch 1/1: loss " in done.stdout
    assert done.stdout.count("linear probe ") == 2


# a kernel takes ten seconds to import
@pytest.mark.torture
def test_the_notebook_runs(root: Path, tmp_path: Path) -> None:
    book = jupytext.read(root / SOURCE.replace("py", "ipynb"))
    NotebookClient(book, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    printed = "".join(out.get("text", "") for c in book.cells for out in c.get("outputs", []))
    assert "epoch 14: loss " in printed
    assert printed.count("linear probe ") == 2
    pictures = [
        out
        for c in book.cells
        for out in c.get("outputs", [])
        if "image/png" in out.get("data", {})
    ]
    assert len(pictures) == 5
