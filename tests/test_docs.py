# SPDX-License-Identifier: MIT
"""The pages: what they name exists. `make docs` builds them, with warnings as errors."""

import doctest
import re
from pathlib import Path

import pytest

import solo_plugins

PAGES = sorted((Path(__file__).parents[1] / "docs").glob("*.md"))


def test_every_public_name_has_its_place(root: Path) -> None:
    text = (root / "docs" / "api.md").read_text()
    documented = set(re.findall(r"auto(?:class|function):: \S+\.(\w+)", text))
    assert documented == set(solo_plugins.__all__) - {"__version__"}


@pytest.mark.usefixtures("methods")
def test_the_page_on_the_plugin_runs(root: Path) -> None:
    done = doctest.testfile(str(root / "docs" / "plugin.md"), module_relative=False)
    assert (done.attempted, done.failed) == (4, 0)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_yamls_of_commands_are_there(page: Path, root: Path) -> None:
    text = page.read_text().replace("\\\n", " ")
    command = r"--config-path (\S+)\s+--config-name[= ](\S+)"
    for folder, name in re.findall(command, text):
        if folder == "RUN":
            continue
        # CONFIG and ${method} stand for any
        pattern = re.sub(r"\$\{\w+\}|CONFIG", "*", name.removesuffix(".yaml")) + ".yaml"
        assert list((root / folder).glob(pattern)), (folder, name)


def test_every_page_is_in_a_table_of_contents(root: Path) -> None:
    listed = set(re.findall(r"^(\w+)$", (root / "docs" / "index.md").read_text(), flags=re.M))
    assert {page.stem for page in PAGES} - {"index"} <= listed
