# SPDX-License-Identifier: MIT
"""What was trained, in use: a plain module, files for other programs, and embeddings."""

__all__ = ["Encoder", "load"]

from solo_plugins.inference.encoder import Encoder, load
