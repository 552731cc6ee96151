# SPDX-License-Identifier: MIT
"""The parts of Rectified LpJEPA, each usable alone."""
