# SPDX-License-Identifier: MIT
"""Rectified LpJEPA: the method, its criterion and its settings."""
