# SPDX-License-Identifier: MIT
"""A table and pictures of any set of pretraining runs."""

__all__ = ["write_report"]

from solo_plugins.report.document import write_report
