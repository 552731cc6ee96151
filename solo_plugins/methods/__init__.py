# SPDX-License-Identifier: MIT
"""The methods of this plugin, written against the interface of solo-learn's main branch."""
