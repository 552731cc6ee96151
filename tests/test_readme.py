# SPDX-License-Identifier: MIT
"""The README: its Python runs, its YAMLs and settings exist, it is short."""

import doctest
import itertools
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from solo_plugins.methods.rectified_lpjepa.settings import RectifiedLpJEPASettings

FIELDS = list(RectifiedLpJEPASettings.model_fields)


def test_python_in_the_readme_runs(
    root: Path,
    run_below: Callable,
    registered: Callable,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    paths = [tmp_path / "own.png"]
    Image.new("RGB", (40, 30)).save(paths[0])
    run_below(tmp_path, name="RUN")
    (tmp_path / "runs").rename(tmp_path / "trained_models")
    monkeypatch.chdir(tmp_path)
    with registered():
        done = doctest.testfile(
            str(root / "README.md"), module_relative=False, globs={"Image": Image, "paths": paths}
        )
    assert done.attempted > 5
    assert done.failed == 0


@pytest.fixture
def recipes(root: Path) -> str:
    """Return the page of YAMLs."""
    return (root / "docs" / "recipes.md").read_text()


@pytest.mark.parametrize("name", FIELDS)
def test_every_setting_is_among_the_recipes(name: str, recipes: str) -> None:
    assert f"`{name}`" in recipes


def test_every_yaml_is_among_the_recipes(root: Path, recipes: str) -> None:
    named = set()
    for pattern in re.findall(r"`([\w-]+/[\w{},-]+\.yaml)`", recipes):
        parts = [part.split(",") for part in re.split(r"[{}]", pattern)]
        named |= {"".join(choice) for choice in itertools.product(*parts)}
    scripts = root / "scripts" / "pretrain"
    assert named == {str(path.relative_to(scripts)) for path in scripts.glob("*/*.yaml")}


@pytest.mark.parametrize(("name", "lines"), [("README.md", 130), ("CONTRIBUTING.md", 80)])
def test_the_documents_keep_to_their_length(name: str, lines: int, root: Path) -> None:
    assert len((root / name).read_text().splitlines()) <= lines
