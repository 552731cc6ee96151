# SPDX-License-Identifier: MIT
"""Doctests: the half of the framework room that needs the other release is left out."""

from solo_plugins.framework import release

collect_ignore = [f"solo_plugins/framework/{'pypi' if release() == 'main' else 'main'}"]
