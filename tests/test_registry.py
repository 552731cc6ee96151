# SPDX-License-Identifier: MIT
"""Entering solo-learn's table, and leaving the rest of the world alone."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

import solo_plugins
from solo_plugins.framework import METHODS
from solo_plugins.methods.rectified_lpjepa.method import RectifiedLpJEPA


def test_register_puts_the_method_into_solos_table(methods: dict) -> None:
    assert methods["rectified_lpjepa"] is RectifiedLpJEPA


def test_register_changes_the_dictionary_in_place(methods: dict) -> None:
    import solo.methods

    assert solo.methods.METHODS is methods


def test_register_twice_is_once(methods: dict) -> None:
    before = dict(methods)
    assert solo_plugins.register() is None
    assert methods == before


def test_register_refuses_a_name_owned_by_another_class(methods: dict) -> None:
    class Other:
        pass

    methods["rectified_lpjepa"] = Other
    with pytest.raises(ValueError, match=r"free or ours .*RectifiedLpJEPA.* but got .*Other"):
        solo_plugins.register()


# The processes that run_program forks have imported both.
_FORGET = (
    "import sys; own = ('solo', 'solo_plugins');"
    "[sys.modules.pop(name) for name in [*sys.modules] if name.partition('.')[0] in own];"
)


def test_importing_the_package_registers_nothing(run_program: Callable) -> None:
    code = _FORGET + (
        "import solo_plugins; assert 'solo' not in sys.modules;"
        "import solo_plugins.framework as f; assert 'rectified_lpjepa' not in f.METHODS;"
        "assert 'pl_bolts' not in sys.modules"
    )
    done = run_program("-W", "ignore", "-c", code)
    assert done.returncode == 0, done.stderr


_HIDE_SOLO = (
    "import importlib.util as u; find = u.find_spec;"
    "u.find_spec = lambda name, *a: None if name == 'solo' else find(name, *a);"
)


@pytest.mark.parametrize(
    "use",
    [
        "import solo_plugins; solo_plugins.register()",
        "import runpy; sys.argv = ['x', '--config-path=scripts/pretrain/digits', "
        "'--config-name=byol_digits']; runpy.run_path('{main}', run_name='__main__')",
    ],
)
def test_without_solo_learn_the_error_gives_both_install_commands(
    use: str, root: Path, run_program: Callable
) -> None:
    code = _FORGET + _HIDE_SOLO + use.format(main=root / "main_pretrain.py")
    done = run_program("-W", "ignore", "-c", code)
    assert done.returncode == 1
    assert "pip install --no-deps solo-learn==1.0.2" in done.stderr
    assert "git clone https://github.com/vturrisi/solo-learn" in done.stderr


def test_every_name_of_the_table_is_a_class() -> None:
    assert all(isinstance(method, type) for method in METHODS.values())


@pytest.mark.parametrize(("own", "calls"), [({}, 1), ({"rectified_lpjepa": object}, 0)])
def test_a_program_with_a_method_of_the_name_keeps_its_own(
    own: dict[str, type], calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hydra._internal.config_search_path_impl import ConfigSearchPathImpl

    from hydra_plugins.solo_plugins_registration import SoloPluginsSearchPath

    registered: list[None] = []
    monkeypatch.setitem(sys.modules, "solo.methods", SimpleNamespace(METHODS=own))
    monkeypatch.setattr("solo_plugins.register", lambda: registered.append(None))
    SoloPluginsSearchPath().manipulate_search_path(ConfigSearchPathImpl())
    assert len(registered) == calls
