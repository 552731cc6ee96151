# SPDX-License-Identifier: MIT
"""What a configuration may hold: checks, defaults and what follows from it."""
