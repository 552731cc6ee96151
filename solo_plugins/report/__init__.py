# SPDX-License-Identifier: MIT
"""A table and pictures of any set of pretraining runs."""

__all__ = ["write_report"]

from solo_plugins.report.report import write_report
