"""Copies the YAMLs of ``scripts/`` into the package that is built; setup.cfg says all else."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithScripts(build_py):
    """Installs ``scripts/`` as ``solo_plugins/scripts``; a checkout has it where it is."""

    def run(self) -> None:
        """Build, then copy."""
        super().run()
        if self.editable_mode:
            return
        for path in Path("scripts").rglob("*.yaml"):
            target = Path(self.build_lib, "solo_plugins", path)
            self.mkpath(str(target.parent))
            self.copy_file(str(path), str(target))


setup(cmdclass={"build_py": BuildWithScripts})
