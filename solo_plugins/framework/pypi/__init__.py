# SPDX-License-Identifier: MIT
"""The release of solo-learn on PyPI, 1.0.2, by the interface of its main branch.

The modules are those of :mod:`solo_plugins.framework.main`, with the same names; what they need
besides stands in ``bridge``.
"""
