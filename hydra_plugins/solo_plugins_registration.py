# SPDX-License-Identifier: MIT
"""Lets an unedited clone of solo-learn's main branch find the plugin.

hydra imports the modules of this namespace package before it reads any configuration. When that
happens in a program that has imported solo-learn, the methods are registered, unless it brings a
method of the name itself, as the reference implementation's copy of solo-learn does; in every other
hydra application only a search path is added, under which no configuration is looked up by default.
"""

__all__ = ["SoloPluginsSearchPath"]

import sys

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin


class SoloPluginsSearchPath(SearchPathPlugin):
    """Adds the configuration blocks of solo_plugins and registers its methods."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append ``pkg://solo_plugins.configs``; called once by hydra before it composes.

        Args:
            search_path: where hydra looks for configurations.
        """
        search_path.append(provider="solo_plugins", path="pkg://solo_plugins.configs")
        solo = sys.modules.get("solo.methods")
        if solo is not None and "rectified_lpjepa" not in solo.METHODS:
            from solo_plugins import register

            register()
