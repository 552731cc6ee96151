# SPDX-License-Identifier: MIT
"""A method that nobody knows of: its run has a row of the report, and a curve of its loss."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import DictConfig

from solo_plugins.report import write_report
from solo_plugins.report.read import read_run
from solo_plugins.runs.description import method_name
from solo_plugins.training.pretrain import pretrain

Make = Callable[..., DictConfig]
pytestmark = pytest.mark.usefixtures("lightning_quiet")


def _of_the_page(root: Path) -> type:
    """Return the method that docs/adding_a_method.md writes."""
    text = (root / "docs" / "adding_a_method.md").read_text()
    code = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)[0]
    namespace: dict = {}
    exec(code, namespace)
    return namespace["Pull"]


@pytest.mark.parametrize(
    ("method", "loss", "settings"),
    [
        ("pull", "train_pull_loss", {}),
        ("nvicreg", "train_nvicreg_loss", {}),
        ("vicreg", "train_vicreg_loss", {}),
        ("byol", "train_neg_cos_sim", {"method_kwargs__pred_hidden_dim": 16}),
    ],
)
def test_a_run_has_a_row_and_a_curve(
    method: str,
    loss: str,
    settings: dict,
    methods: dict,
    make_cfg: Make,
    root: Path,
    tmp_path: Path,
) -> None:
    methods["pull"] = _of_the_page(root)
    result = pretrain(make_cfg(method, max_epochs=2, **settings))
    run = read_run(result.folder)
    assert (run.description.label, run.description.loss) == (method, loss)
    logged = result.metrics[f"{loss}_epoch"]
    assert run.curves["loss"][1] == pytest.approx(logged, rel=1e-6)
    report = write_report([tmp_path / "runs"], tmp_path / "report", formats=["png"])
    assert f"\n| {method_name(method)} | none | 2 | 1 (5) |" in report.read_text()
    assert (tmp_path / "report" / "curves.png").is_file()
