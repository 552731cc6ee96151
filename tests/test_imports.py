# SPDX-License-Identifier: MIT
"""The plan of the house: which room may import which, and which rooms know torch alone."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import solo_plugins

PACKAGE = Path(solo_plugins.__file__).parent
# From the bottom to the top: a room imports rooms of the lines above its own only.
LAYERS = (
    ("errors", "distributed", "untrusted", "inputs"),
    ("distributions",),
    ("losses", "modules", "metrics"),
    ("framework",),
    ("data", "runs", "pictures"),
    ("args",),
    ("methods",),
    ("registry",),
    ("training", "report", "codes"),
    ("evaluation", "atlas"),
    ("inference",),
    ("__main__",),
)
LAYER = {room: number for number, rooms in enumerate(LAYERS) for room in rooms}
FRAMEWORKS = {"lightning", "pytorch_lightning", "solo", "omegaconf", "hydra", "timm"}


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def _room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


MODULES = [path for path in sorted(PACKAGE.rglob("*.py")) if _room(path) in LAYER]


def test_every_room_has_its_place() -> None:
    rooms = {_room(path) for path in PACKAGE.rglob("*.py")} - {"__init__", "configs"}
    assert rooms == set(LAYER)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down_only(path: Path) -> None:
    own = [name.split(".") for name in _imports(path) if name.startswith("solo_plugins.")]
    rooms = {parts[1] for parts in own} & set(LAYER) - {_room(path)}
    assert all(LAYER[room] < LAYER[_room(path)] for room in rooms), rooms


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_solo_learn_is_imported_in_its_room_only(path: Path) -> None:
    imported = {name.partition(".")[0] for name in _imports(path)}
    assert "solo" not in imported or _room(path) == "framework"


def test_the_maths_rooms_together_import_no_framework() -> None:
    # torchmetrics, which Lightning has imported long before, imports scipy itself
    first = {*FRAMEWORKS, "scipy", "torchmetrics"}
    code = (
        "import sys; from solo_plugins import distributed, distributions, losses, modules;"
        f"print(*sorted({first!r} & set(sys.modules)));"
        f"from solo_plugins import metrics; print(*sorted({FRAMEWORKS!r} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout.split() == []


def test_the_package_itself_loads_nothing_but_the_registry() -> None:
    code = (
        "import sys; before = set(sys.modules); import solo_plugins;"
        "new = {name for name in set(sys.modules) - before"
        " if name.partition('.')[0] not in sys.stdlib_module_names};"
        "print(*sorted(new))"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout.split() == ["solo_plugins", "solo_plugins.registry"]


@pytest.mark.parametrize("name", solo_plugins.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert name in dir(solo_plugins)
    assert getattr(solo_plugins, name) is not None


def test_a_name_that_is_not_public_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'solo_plugins' has no attribute 'RDMRegg'"):
        solo_plugins.RDMRegg  # noqa: B018
