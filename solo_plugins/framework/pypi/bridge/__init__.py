# SPDX-License-Identifier: MIT
"""What the main branch of solo-learn has and its release on PyPI lacks."""
