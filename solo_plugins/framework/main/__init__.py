# SPDX-License-Identifier: MIT
"""The main branch of solo-learn, with what today's stack needs.

The modules are those of :mod:`solo_plugins.framework.pypi`, with the same names.
"""
