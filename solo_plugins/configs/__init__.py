# SPDX-License-Identifier: MIT
"""Configuration blocks that the YAMLs under ``scripts/`` share, found by hydra as a package."""
