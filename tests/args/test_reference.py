# SPDX-License-Identifier: MIT
"""docs/configuration.md is what the models say, and says something of every setting."""

import re
from pathlib import Path

import pytest

from solo_plugins.args.evaluated import KnnSettings, LinearSettings
from solo_plugins.args.foreign import MEANINGS, METHOD_KWARGS, OPTIMIZER_KWARGS
from solo_plugins.args.models import PretrainSettings
from solo_plugins.args.reference import meanings, reference
from solo_plugins.args.wording import every_name

PROGRAMS = {"pretrain": PretrainSettings, "linear": LinearSettings, "knn": KnnSettings}


@pytest.fixture
def page(root: Path) -> str:
    """Return the page of all settings."""
    return (root / "docs" / "configuration.md").read_text()


def test_the_page_is_what_the_models_say(page: str, methods: dict) -> None:
    kinds = {name: getattr(kind, "settings_class", None) for name, kind in methods.items()}
    written = reference({name: kind for name, kind in kinds.items() if kind})
    assert page == written, "`python -m solo_plugins settings > docs/configuration.md` renews it"


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_setting_is_on_the_page(program: str, page: str) -> None:
    section = page.partition(f"## main_{program}.py\n")[2].partition("\n## ")[0]
    for name in every_name(PROGRAMS[program]):
        block = name.rpartition(".")[0]
        elsewhere = f"`{block}`\n\n" in section and "As for main_pretrain.py" in section
        assert f"| `{name}` |" in section or elsewhere, name


def test_every_setting_has_a_meaning(page: str) -> None:
    rows = re.findall(r"^\| (`[^|]+) \| (.+) \|$", page, flags=re.M)
    assert len(rows) > 200
    assert [name for name, rest in rows if not rest.rpartition(" | ")[2].strip()] == []


def test_every_meaning_is_of_a_setting() -> None:
    tables = [*METHOD_KWARGS.values(), *OPTIMIZER_KWARGS.values()]
    assert set(MEANINGS) <= {name for model in tables for name in model.model_fields}
    for model in PROGRAMS.values():
        assert set(meanings(model)) == set(model.model_fields)
