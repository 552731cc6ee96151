# SPDX-License-Identifier: MIT
"""The documentation site: ``make docs`` builds it, with warnings as errors."""

from pathlib import Path

import solo_plugins

HERE = Path(__file__).parent
# The notebook lies beside its source, and Sphinx reads this folder only.
notebook = (HERE.parent / "examples" / "rectified_lpjepa.ipynb").read_text("utf-8")
(HERE / "method.ipynb").write_text(notebook.replace("](../docs/", "]("), "utf-8")

project = "solo_plugins"
version = release = solo_plugins.__version__
copyright = "the authors of solo_plugins, MIT licence"
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx-mathjax-offline",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]
html_theme = "furo"
html_title = f"solo_plugins {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
exclude_patterns = ["_build", "jupyter_execute"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # the notebook holds what its cells print and draw
# Lightning and hydra colour what they print.
suppress_warnings = ["mystnb.unknown_mime_type"]
autodoc_typehints = "description"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
