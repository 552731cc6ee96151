# SPDX-License-Identifier: MIT
"""Features of a data set: each image once, described as numpy would."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from solo_plugins.errors import ConfigurationError
from solo_plugins.evaluation.features import describe_outputs, extract


class _Counts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.images = 0
        self.projector = nn.ReLU()

    def backbone(self, images: Tensor) -> Tensor:
        self.images += len(images)
        return images.flatten(1)


@pytest.mark.parametrize("names", [["backbone"], ["projector"], ["backbone", "projector"]], ids=str)
def test_each_image_goes_through_the_network_once(names: list[str]) -> None:
    model = _Counts()
    images = torch.randn(3, 4, 1, 2, 2)
    batches = [(batch, torch.arange(4)) for batch in images]
    found = extract(model, batches, names, torch.device("cpu"))
    assert model.images == 12
    wanted = {"backbone": images.flatten(0, 1).flatten(1)}
    wanted["projector"] = wanted["backbone"].relu()
    assert list(found.by_name) == names
    for name in names:
        torch.testing.assert_close(found.by_name[name], wanted[name])
    torch.testing.assert_close(found.targets, torch.arange(4).repeat(3))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_features_that_are_not_finite_are_an_error(value: float) -> None:
    batch = (torch.full((2, 1, 1, 1), value), torch.arange(2))
    with pytest.raises(ConfigurationError, match=r"backbone features.*2 of 2 images have NaN"):
        extract(_Counts(), [batch], ["backbone"], torch.device("cpu"))


def _sparse() -> Tensor:
    z = torch.randn(50, 8, generator=torch.Generator().manual_seed(0)).relu()
    z[:10], z[:, 0] = 0, 0
    return z


@pytest.mark.parametrize(
    "name",
    ["l0", "l1", "dead_outputs", "all_zero_rows", "always_on_outputs", "effective_rank"],
)
def test_outputs_are_described_as_numpy_would(name: str, by_numpy: Callable) -> None:
    wanted = by_numpy(_sparse().numpy())[name]
    rel = 1e-5 if name == "effective_rank" else 1e-6  # of float32
    assert describe_outputs(_sparse(), 0.5)[name] == pytest.approx(wanted, rel=rel)


def test_the_histogram_counts_what_is_active() -> None:
    z = _sparse()
    got = describe_outputs(z, 0.5)
    assert got["marginal_distance"] is None
    counts, edges = got["histogram"]["counts"], got["histogram"]["edges"]
    assert sum(counts) == (z != 0).sum()
    assert sum(counts[:50]) == ((z > 0) & (z < edges[50])).sum()


@pytest.mark.parametrize(("value", "l0", "l1"), [(1.0, 1.0, 1.0), (0.0, 0.0, None)])
def test_dense_and_collapsed_outputs_are_described(
    value: float, l0: float, l1: float | None
) -> None:
    got = describe_outputs(torch.full((3, 2), value), None)
    assert (got["l0"], got["all_zero_rows"]) == (l0, 1 - l0)
    assert got["l1"] == (None if l1 is None else pytest.approx(l1))  # float32
    assert sum(got["histogram"]["counts"]) == 6 * l0
