# SPDX-License-Identifier: MIT
"""Doctests: the modules of the framework room that need the other release are left out."""

from solo_plugins.framework.release import release

collect_ignore = [
    f"solo_plugins/framework/{name}.py"
    for name in (
        ("bridge", "dali_bridge", "hooks", "joined")
        if release() == "main"
        else ("native", "dali_native")
    )
]
