# SPDX-License-Identifier: MIT
"""What is installed: the wheel carries YAML blocks, the atlas's page and the hydra plugin."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import solo_plugins


def test_the_wheel_carries_configurations_and_plugin(root: Path, tmp_path: Path) -> None:
    for name in ("solo_plugins", "hydra_plugins"):
        shutil.copytree(root / name, tmp_path / name)
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(root / name, tmp_path)
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "."]
    subprocess.run(build, cwd=tmp_path, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    assert solo_plugins.__version__ in wheel.name
    names = set(zipfile.ZipFile(wheel).namelist())
    package = root / "solo_plugins"
    data = [path for kind in ("yaml", "html", "css") for path in package.rglob(f"*.{kind}")]
    assert {path.suffix for path in data} == {".yaml", ".html", ".css"}
    assert {str(path.relative_to(root)) for path in data} <= names
    assert "hydra_plugins/solo_plugins_registration.py" in names
    assert not any(name.startswith(("tests/", "benchmarks/", "examples/")) for name in names)
