# SPDX-License-Identifier: MIT
"""What each output means: a page to look at in a browser, and its numbers as CSV."""

__all__ = ["write_atlas"]

from solo_plugins.atlas.write import write_atlas
