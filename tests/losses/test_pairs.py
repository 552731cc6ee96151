# SPDX-License-Identifier: MIT
"""The pairs of views that are compared, against a list of them."""

import pytest
import torch
from torch import Tensor

from solo_plugins.losses import mean_over_pairs


@pytest.mark.parametrize(
    ("num_views", "num_large", "pairs"),
    [
        (2, 1, ["01"]),
        (2, 2, ["01"]),
        (3, 1, ["01", "02"]),
        (3, 2, ["01", "02", "12"]),
        (4, 2, ["01", "02", "03", "12", "13"]),
        (4, 4, ["01", "02", "03", "12", "13", "23"]),
    ],
)
def test_at_least_one_of_a_pair_is_a_large_crop(
    num_views: int, num_large: int, pairs: list[str]
) -> None:
    views, found = [torch.tensor(float(number)) for number in range(num_views)], []

    def term(first: Tensor, second: Tensor) -> Tensor:
        found.append(f"{first:.0f}{second:.0f}")
        return 10 * first + second

    mean = mean_over_pairs(term, views, num_large)
    assert found == pairs
    assert mean == pytest.approx(sum(map(float, pairs)) / len(pairs))


@pytest.mark.parametrize(("num_views", "num_large"), [(0, 1), (1, 1), (2, 0)])
def test_no_pair_is_an_error(num_views: int, num_large: int) -> None:
    views = [torch.ones(2, 1)] * num_views
    said = f"at least two views, one of them large, but got {num_views} and `num_large` {num_large}"
    with pytest.raises(ValueError, match=rf"^Expected {said}\.$"):
        mean_over_pairs(torch.dist, views, num_large)
