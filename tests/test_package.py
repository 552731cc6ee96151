# SPDX-License-Identifier: MIT
"""What is installed: the wheel carries YAMLs, the atlas's page and the hydra plugin, and works."""

import ast
import configparser
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import solo_plugins

# Where an import's name is not its distribution's.
DISTRIBUTIONS = {
    "PIL": "pillow",
    "hydra": "hydra-core",
    "markupsafe": "jinja2",
    "nvidia": "nvidia-dali-cuda130",
    "pydantic_core": "pydantic",
    "sklearn": "scikit-learn",
    "umap": "umap-learn",
    "yaml": "pyyaml",
}


def test_what_is_imported_is_declared(root: Path) -> None:
    setup = configparser.ConfigParser()
    setup.read(root / "setup.cfg")
    lists = [setup["options"]["install_requires"], *setup["options.extras_require"].values()]
    declared = set(re.findall(r"^([\w-]+)", "\n".join(lists), re.MULTILINE))
    imported = set()
    for path in [*root.glob("*.py"), *root.glob("solo_plugins/**/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                imported.add(node.module.split(".")[0])
    # solo-learn's release cannot be a dependency: setup.cfg says why
    foreign = imported - sys.stdlib_module_names - {"solo", "solo_plugins", "setuptools", "tests"}
    assert {DISTRIBUTIONS.get(name, name) for name in foreign} <= declared


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from what a checkout has."""
    folder = tmp_path_factory.mktemp("build")
    for name in ("solo_plugins", "hydra_plugins", "scripts"):
        shutil.copytree(root / name, folder / name)
    for name in ("setup.cfg", "setup.py", "pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"):
        shutil.copy(root / name, folder)
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "."]
    subprocess.run(build, cwd=folder, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def test_the_wheel_carries_configurations_and_plugin(root: Path, wheel: Path) -> None:
    assert solo_plugins.__version__ in wheel.name
    names = set(zipfile.ZipFile(wheel).namelist())
    package = root / "solo_plugins"
    data = [path for kind in ("yaml", "html", "css") for path in package.rglob(f"*.{kind}")]
    assert {path.suffix for path in data} == {".yaml", ".html", ".css"}
    assert {str(path.relative_to(root)) for path in data} <= names
    assert "hydra_plugins/solo_plugins_registration.py" in names
    assert "solo_plugins/py.typed" in names
    yamls = [path.relative_to(root) for path in (root / "scripts").rglob("*.yaml")]
    assert yamls
    assert {f"solo_plugins/{path}" for path in yamls} <= names
    assert not any(name.startswith(("tests/", "benchmarks/", "examples/")) for name in names)


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel into a folder."""
    site = tmp_path_factory.mktemp("site")
    install = ["-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", str(site)]
    subprocess.run([sys.executable, *install, str(wheel)], check=True, capture_output=True)
    return site


def test_the_installed_command_knows_the_yamls_in_another_folder(
    site: Path, tmp_path: Path
) -> None:
    done = subprocess.run(
        [
            sys.executable,
            str(site / "bin" / "solo_plugins"),
            "pretrain",
            "--config-name",
            "byol_digit",
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "Did you mean `digits/byol_digits`?" in done.stderr


# a start takes ten seconds to import
@pytest.mark.torture
def test_the_installed_command_trains_from_another_folder(site: Path, tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    small = ["++max_epochs=1", "++limit_train_batches=1", "++limit_val_batches=1"]
    given = ["--config-name", "rectified_lpjepa_digits", "++data.num_workers=0", *small]
    done = subprocess.run(
        [sys.executable, str(site / "bin" / "solo_plugins"), "pretrain", *given],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (run,) = (folder / "trained_models" / "rectified_lpjepa").iterdir()
    # what ran is what was installed: a commit is that of a checkout
    assert '"commit": null' in (run / "summary.json").read_text()
