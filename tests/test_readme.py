# SPDX-License-Identifier: MIT
"""The README: its Python runs, its YAMLs and settings exist, it is short."""

import dataclasses
import doctest
import itertools
import re
from pathlib import Path

from solo_plugins.methods.rectified_lpjepa.settings import RectifiedLpJEPASettings

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "README.md").read_text()


def test_python_in_the_readme_runs() -> None:
    done = doctest.testfile(str(ROOT / "README.md"), module_relative=False)
    assert done.attempted > 5
    assert done.failed == 0


def test_every_setting_is_in_the_readme_with_its_default() -> None:
    for field in dataclasses.fields(RectifiedLpJEPASettings):
        assert f"`{field.name}`" in TEXT


def test_every_yaml_is_in_the_readme() -> None:
    named = set()
    for pattern in re.findall(r"`([\w-]+/[\w{},-]+\.yaml)`", TEXT):
        parts = [part.split(",") for part in re.split(r"[{}]", pattern)]
        named |= {"".join(choice) for choice in itertools.product(*parts)}
    scripts = ROOT / "scripts" / "pretrain"
    assert named == {str(path.relative_to(scripts)) for path in scripts.glob("*/*.yaml")}


def test_the_documents_keep_to_their_length() -> None:
    assert len(TEXT.splitlines()) <= 150
    assert len((ROOT / "CONTRIBUTING.md").read_text().splitlines()) <= 80
