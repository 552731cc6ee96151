# SPDX-License-Identifier: MIT
"""Diagnostics accumulated over batches and processes, against numpy on all rows at once."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributions import Exponential

from solo_plugins.metrics import (
    EffectiveRank,
    OutputDiagnostics,
    effective_rank,
    marginal_distance,
    nhsic,
)

N, D = 120, 10
# rows of each process: some more than others, some a lot
SHARES = {2: [40, 80], 3: [16, 100, 4]}
TARGET = Exponential(1.0)


def _outputs() -> Tensor:
    """Sparse outputs with one of each kind of row and column that is counted apart."""
    z = torch.randn(N, D, generator=torch.Generator().manual_seed(0)).relu()
    z[:, 0], z[:, 1] = 0, z[:, 1] + 1  # dead, always on
    z[::12] = 0  # no output is on in these rows,
    z[::12, 1] = 1  # but for one,
    z[::24, 1] = 0  # of which half are all zero
    return z


def _computed(*batches: Tensor, sample_size: int = 1024) -> dict[str, float]:
    metric = OutputDiagnostics(batches[0].size(1), TARGET, sample_size=sample_size)
    for batch in batches:
        metric.update(batch)
    return {name: value.item() for name, value in metric.compute().items()}


@pytest.mark.parametrize(
    ("name", "rel"),
    [
        *((name, 1e-12) for name in ("l0", "dead_outputs", "always_on_outputs", "all_zero_rows")),
        *((name, 1e-6) for name in ("l1", "effective_rank")),  # of rows in float32
    ],
)
def test_diagnostics_are_numpys(name: str, rel: float, by_numpy: Callable) -> None:
    wanted = by_numpy(_outputs().numpy())[name]
    assert _computed(_outputs())[name] == pytest.approx(wanted, rel=rel)


@pytest.mark.parametrize(
    ("name", "value"),
    [("all_zero_rows", 5 / N), ("dead_outputs", 1 / D), ("always_on_outputs", 0)],
)
def test_what_is_counted_apart_is_counted_exactly(name: str, value: float) -> None:
    assert _computed(_outputs())[name] == value


@pytest.mark.parametrize("size", [1, 2], ids=["apart", "together"])
def test_an_output_that_every_sample_has_is_always_on(size: int) -> None:
    z = torch.tensor([[1.0, 0.0, -2.0], [3.0, 0.0, 0.0]])
    assert _computed(*z.split(size))["always_on_outputs"] == pytest.approx(1 / 3)


@pytest.mark.parametrize("zero", [0, 3], ids=["none", "three"])
def test_l1_leaves_all_zero_rows_out(zero: int) -> None:
    z = torch.cat([torch.eye(4), torch.zeros(zero, 4)])
    got = _computed(z)
    assert got["l1"] == pytest.approx(1 / 4)
    assert got["all_zero_rows"] == pytest.approx(zero / (4 + zero))


def test_of_collapsed_outputs_l1_and_nhsic_are_nan_and_the_rank_is_zero() -> None:
    got = _computed(torch.zeros(5, 3))
    assert np.isnan([got["l1"], got["nhsic"]]).all()
    assert (got["l0"], got["dead_outputs"], got["all_zero_rows"]) == (0, 1, 1)
    assert got["effective_rank"] == 0


@pytest.mark.parametrize(
    ("name", "statistic"),
    [
        ("effective_rank", effective_rank),
        ("marginal_distance", lambda z: marginal_distance(z, TARGET)),
        ("nhsic", nhsic),
    ],
    ids=["rank", "distance", "nhsic"],
)
def test_sample_statistics_are_those_of_all_rows_if_these_fit(
    name: str, statistic: Callable
) -> None:
    assert _computed(_outputs())[name] == pytest.approx(statistic(_outputs()).item())


@pytest.mark.parametrize("size", [1, 7, 64])
@pytest.mark.parametrize("sample_size", [16, 1024])
def test_batches_are_one_big_batch(size: int, sample_size: int) -> None:
    whole = _computed(_outputs(), sample_size=sample_size)
    parts = _computed(*_outputs().split(size), sample_size=sample_size)
    # the sum of l1 is rounded in another order
    assert parts == pytest.approx(whole, rel=1e-12)


@pytest.mark.parametrize(
    "label",
    [
        pytest.param(torch.arange(10_000) // 100, id="by class"),
        *(pytest.param(torch.arange(10_000) % n, id=f"{n} in turns") for n in (2, 10, 64)),
    ],
)
def test_the_sample_is_spread_over_data_that_have_an_order(label: Tensor) -> None:
    metric = OutputDiagnostics(1, sample_size=512)
    for batch in label.float()[:, None].split(200):
        metric.update(batch)
    kept = torch.cat(metric.sample).flatten().long().bincount(minlength=int(label.max()) + 1)
    # A random sample of ten classes would be off by 7 already at one standard deviation.
    assert kept.sum() == 512
    assert (kept - 512 / len(kept)).abs().max() < 4


@pytest.mark.parametrize("size", [1, 5, 30])
@pytest.mark.parametrize("sample_size", [1, 8])
def test_memory_is_bounded(sample_size: int, size: int) -> None:
    metric = OutputDiagnostics(2, sample_size=sample_size)
    for _ in range(20):
        metric.update(torch.ones(size, 2))
    assert sum(rows.numel() for rows in metric.sample) == sample_size * 2


def test_global_generators_are_left_alone() -> None:
    state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    _computed(_outputs(), sample_size=16)
    assert torch.equal(torch.get_rng_state(), state)
    assert (np.random.get_state()[1] == numpy_state).all()


def test_a_target_can_be_set_and_changed() -> None:
    metric = OutputDiagnostics(D)
    metric.update(_outputs())
    assert "marginal_distance" not in metric.compute()
    for rate in (1.0, 3.0):
        metric.target = Exponential(rate)
        wanted = marginal_distance(_outputs(), metric.target)
        torch.testing.assert_close(metric.compute()["marginal_distance"], wanted)


def test_reset_forgets_and_no_state_is_saved() -> None:
    metric = OutputDiagnostics(D, TARGET)
    metric.update(torch.ones(7, D))
    metric.reset()
    metric.update(_outputs())
    assert {name: value.item() for name, value in metric.compute().items()} == _computed(_outputs())
    assert metric.state_dict() == {}


@pytest.mark.parametrize("name", ["l1", "effective_rank", "marginal_distance", "nhsic"])
def test_outputs_that_are_not_finite_are_nan_and_no_error(name: str) -> None:
    z = _outputs()
    z[3, 4] = float("nan")
    assert np.isnan(_computed(z)[name])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_model_in_half_precision_counts_exactly(dtype: torch.dtype) -> None:
    metric = OutputDiagnostics(D, TARGET).to(dtype)  # as Lightning's bf16-true does
    for batch in _outputs().split(16):
        metric.update(batch)
    # sums in bfloat16, which has 8 bits, would be off by a percent
    assert metric.compute()["l1"].item() == pytest.approx(_computed(_outputs())["l1"], rel=1e-9)


@pytest.mark.parametrize(
    ("kwargs", "match"),
    [
        ({"num_outputs": 0}, r"Expected `num_outputs` to be a positive integer but got 0\."),
        (
            {"num_outputs": 4, "sample_size": -1},
            r"`sample_size` to be a positive integer but got -1",
        ),
        ({"num_outputs": "a"}, r"`num_outputs` to be a positive integer but got 'a'"),
    ],
)
def test_empty_sizes_are_refused(kwargs: dict, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        OutputDiagnostics(**kwargs)


@pytest.mark.filterwarnings("ignore:The ``compute`` method:UserWarning")  # torchmetrics' own
@pytest.mark.parametrize("metric", [OutputDiagnostics, EffectiveRank])
def test_nothing_is_computed_of_no_batch(metric: Callable) -> None:
    with pytest.raises(ValueError, match=r"`update` to be called before `compute`"):
        metric(3).compute()


@pytest.mark.parametrize("shape", [(3,), (3, 4), (2, 3, 5)], ids=str)
def test_outputs_of_another_shape_are_refused(shape: tuple) -> None:
    with pytest.raises(ValueError, match=r"Expected `z` to be of shape \(N, 5\) but got \("):
        OutputDiagnostics(5).update(torch.ones(shape))


def _computed_by_a_process() -> dict[str, float]:
    rows = _outputs().split(SHARES[dist.get_world_size()])[dist.get_rank()]
    return _computed(*rows.split(16))


@pytest.mark.ddp
@pytest.mark.parametrize("world_size", SHARES)
def test_processes_are_one_with_all_rows(world_size: int, gloo: Callable) -> None:
    wanted = pytest.approx(_computed(_outputs()))
    assert gloo(_computed_by_a_process, world_size=world_size) == [wanted] * world_size
