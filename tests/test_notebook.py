# SPDX-License-Identifier: MIT
"""The notebook is what its source says, and runs."""

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


@pytest.mark.slow
def test_the_notebook_runs(root: Path, tmp_path: Path) -> None:
    book = jupytext.read(root / SOURCE)
    settings = next(cell for cell in book.cells if "EPOCHS = 15" in cell.source)
    settings.source = settings.source.replace("EPOCHS = 15", "EPOCHS = 1").replace("1024", "64")
    NotebookClient(book, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    printed = "".join(out.get("text", "") for c in book.cells for out in c.get("outputs", []))
    assert "epoch 0: loss " in printed
    assert printed.count("linear probe ") == 2
    pictures = [
        out
        for c in book.cells
        for out in c.get("outputs", [])
        if "image/png" in out.get("data", {})
    ]
    assert len(pictures) == 5
