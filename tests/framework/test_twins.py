# SPDX-License-Identifier: MIT
"""The two halves of the framework room, read and not imported: one solo-learn is installed."""

import ast
from pathlib import Path

import pytest

ROOM = Path(__file__).resolve().parents[2] / "solo_plugins" / "framework"
MAIN, PYPI = ROOM / "main", ROOM / "pypi"
MODULES = sorted(path.name for path in MAIN.glob("*.py") if path.name != "__init__.py")


def _public(path: Path) -> list[str]:
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return ast.literal_eval(node.value)
    raise AssertionError(f"{path} has no __all__")


def _questions(path: Path) -> int:
    calls = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
    return sum(ast.unparse(call.func) in ("import_solo", "release") for call in calls)


def test_the_twins_have_the_same_modules() -> None:
    assert {path.name for path in PYPI.glob("*.py")} == {*MODULES, "__init__.py"}


@pytest.mark.parametrize("module", MODULES)
def test_the_twins_have_the_same_names(module: str) -> None:
    assert _public(MAIN / module) == _public(PYPI / module)


@pytest.mark.parametrize("module", MODULES)
def test_every_name_of_the_twins_is_handed_out(module: str) -> None:
    assert set(_public(MAIN / module)) <= set(_public(ROOM / "__init__.py"))


def test_the_release_is_asked_for_once() -> None:
    paths = [path for path in ROOM.rglob("*.py") if path != ROOM / "release.py"]
    asked = {str(path.relative_to(ROOM)): _questions(path) for path in paths}
    assert {name: count for name, count in asked.items() if count} == {"__init__.py": 1}
