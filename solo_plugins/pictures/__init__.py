# SPDX-License-Identifier: MIT
"""The look that all pictures share, and pictures of embeddings; knows no network and no file."""

__all__: list[str] = []
