# SPDX-License-Identifier: MIT
"""Embeddings in a folder, dense and sparse, and what is found in them; knows no network."""

__all__ = ["Embeddings", "keep_largest", "nearest"]

from solo_plugins.codes.embeddings import Embeddings
from solo_plugins.codes.search import keep_largest, nearest
