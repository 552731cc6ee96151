# SPDX-License-Identifier: MIT
"""The parts of solo-learn's main branch that its release on PyPI lacks."""
