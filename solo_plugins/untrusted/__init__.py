# SPDX-License-Identifier: MIT
"""What others wrote: files, values and names that are read without trust; knows no framework."""

__all__: list[str] = []
