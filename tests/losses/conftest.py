# SPDX-License-Identifier: MIT
"""Fixtures for the losses' tests."""

from collections.abc import Iterator
from unittest import mock

import pytest

from solo_plugins.losses import products, sorted_difference


@pytest.fixture(params=[False, True], ids=["view-by-view", "joined-views"])
def joined(request: pytest.FixtureRequest) -> Iterator[None]:
    """Take views one by one and numpy's products, as on a CPU, or all at once, as on a GPU."""
    with (
        mock.patch.object(sorted_difference, "joins_views", return_value=request.param),
        mock.patch.object(products, "by_numpy", return_value=not request.param),
    ):
        yield
