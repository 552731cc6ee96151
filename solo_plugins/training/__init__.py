# SPDX-License-Identifier: MIT
"""Pretraining: the trainer, its callbacks, and sweeps."""
