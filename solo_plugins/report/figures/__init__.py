# SPDX-License-Identifier: MIT
"""The report's pictures: each is drawn at a given width, by the same looks."""

__all__ = ["PARTS", "Picture", "curves", "outputs", "pareto", "sparsity"]

from solo_plugins.report.figures.accuracy import pareto
from solo_plugins.report.figures.active import sparsity
from solo_plugins.report.figures.common import Picture
from solo_plugins.report.figures.histograms import outputs
from solo_plugins.report.figures.training import PARTS, curves
