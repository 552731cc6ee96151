# SPDX-License-Identifier: MIT
"""Run folders: what lies in them, how one is found, and where its results come from."""
