# SPDX-License-Identifier: MIT
"""What a GPU's recorded operations are compared with, and when there are any.

The recordings themselves need a GPU: the tests that do are skipped without one, as is stage `check`
of benchmarks/accelerator.py, which compares more of them.
"""

import copy
import pickle
from collections.abc import Callable, Hashable, Sequence
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from solo_plugins import RDMReg, RectifiedGeneralizedGaussian
from solo_plugins.losses import DIRECTIONS, Directions, recorded
from solo_plugins.losses.recorded import Recorder

_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
_TARGET = RectifiedGeneralizedGaussian(0.0, 0.7, 1.0)


class _Replays:
    """Stands for a recording: it says so, and computes again."""

    def __init__(self, function: recorded.Function, samples: Tensor) -> None:
        self.function, self.shape, self.replays = function, samples.shape, 0

    def replay(self, samples: Tensor, generator: torch.Generator | None) -> Sequence[Tensor]:
        assert samples.shape == self.shape
        self.replays += 1
        return self.function(samples, generator)


@pytest.fixture
def recordings(monkeypatch: pytest.MonkeyPatch) -> list[_Replays]:
    """Let a CPU record, and list what it did."""
    made: list[_Replays] = []

    def record(function: recorded.Function, samples: Tensor) -> _Replays:
        made.append(_Replays(function, samples))
        return made[-1]

    monkeypatch.setattr(recorded, "_can_be_recorded", lambda samples: True)
    monkeypatch.setattr(recorded, "_Recording", record)
    return made


def _double(samples: Tensor, generator: torch.Generator | None) -> list[Tensor]:
    return [2 * samples]


def _call(recorder: Recorder, key: Hashable, *shape: int) -> None:
    samples = torch.ones(*shape)
    (result,) = recorder(_double, samples, None, key)
    assert torch.equal(result, 2 * samples)


def test_what_comes_twice_is_recorded_once(recordings: list[_Replays]) -> None:
    recorder = Recorder()
    _call(recorder, "a", 3)
    assert not recordings
    for _ in range(3):
        _call(recorder, "a", 3)
    assert [one.replays for one in recordings] == [3]


@pytest.mark.parametrize("other", [("b", 3), ("a", 4)])
def test_another_key_or_shape_is_another_recording(
    other: tuple, recordings: list[_Replays]
) -> None:
    recorder = Recorder()
    for key, size in 2 * [("a", 3), other]:
        _call(recorder, key, size)
    assert [one.replays for one in recordings] == [1, 1]


def test_a_target_that_moves_every_step_is_never_recorded(recordings: list[_Replays]) -> None:
    recorder = Recorder()
    for step in range(20):
        _call(recorder, step, 3)
    assert not recordings
    assert len(recorder._recordings) == recorded._KEPT


_EITHER_NAME = {
    "newer": ("fp32_precision", ["ieee", "tf32"]),
    "older": ("allow_tf32", [True, False]),
}


@pytest.mark.parametrize(("name", "values"), _EITHER_NAME.values(), ids=_EITHER_NAME)
def test_the_precision_of_products_is_part_of_the_key(
    name: str, values: list, recordings: list[_Replays], monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder()
    for value in 2 * values:
        # From torch 2.9 on, asking by the older name is an error once the newer one was set.
        monkeypatch.setattr(torch.backends.cuda, "matmul", SimpleNamespace(**{name: value}))
        _call(recorder, "a", 3)
    assert len(recordings) == 2


def test_determinism_is_part_of_the_key(recordings: list[_Replays]) -> None:
    recorder = Recorder()
    try:
        for on in 2 * [True, False]:
            torch.use_deterministic_algorithms(on)
            _call(recorder, "a", 3)
    finally:
        torch.use_deterministic_algorithms(False)
    assert len(recordings) == 2


@pytest.mark.parametrize(
    "made_again", [copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))], ids=["copy", "pickle"]
)
def test_a_copy_of_the_loss_records_for_itself(
    made_again: Callable, recordings: list[_Replays], monkeypatch: pytest.MonkeyPatch
) -> None:
    rdm_reg = _joined(monkeypatch)
    _steps(rdm_reg, 2)
    other = made_again(rdm_reg)
    assert len(recordings) == 1
    _steps(other, 2)
    assert len(recordings) == 2


@pytest.mark.parametrize("share_target", [True, False])
@pytest.mark.parametrize("directions", ["random", "hadamard"])
def test_the_loss_is_recorded_with_its_draws(
    directions: str,
    share_target: bool,
    recordings: list[_Replays],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = [
        _joined(monkeypatch, directions, share_target=share_target, cuda_graph=cuda_graph)
        for cuda_graph in (True, False)
    ]
    ours, plain = (_steps(rdm_reg, 4) for rdm_reg in made)
    assert [one.replays for one in recordings] == [3]
    assert all(torch.equal(one, other) for one, other in zip(ours, plain, strict=True))


@pytest.mark.parametrize("without_gradient_first", [True, False])
def test_values_alone_and_gradients_are_recorded_apart(
    without_gradient_first: bool, recordings: list[_Replays], monkeypatch: pytest.MonkeyPatch
) -> None:
    rdm_reg = _joined(monkeypatch)
    views = torch.rand(2, 8, 4)
    for with_gradient in [without_gradient_first, not without_gradient_first] * 2:
        value = rdm_reg(views.clone().requires_grad_(with_gradient))
        assert value.requires_grad is with_gradient
    assert len(recordings) == 2


@pytest.mark.parametrize(
    ("directions", "target"),
    [
        ("orthogonal", _TARGET),
        ("torch_svd_and_random", _TARGET),
        ("random", RectifiedGeneralizedGaussian(torch.zeros((), requires_grad=True), 0.7, 1.0)),
    ],
    ids=["decomposes", "looks at outputs", "a parameter that moves"],
)
def test_what_asks_for_values_is_not_recorded(
    directions: str,
    target: RectifiedGeneralizedGaussian,
    recordings: list[_Replays],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rdm_reg = _joined(monkeypatch, directions)
    rdm_reg.target = target
    _steps(rdm_reg, 3)
    assert not recordings


class _OfValues(type(DIRECTIONS["random"](16))):  # type: ignore[misc]
    """A subclass, whose draws are its own matter."""


class _Moved(RectifiedGeneralizedGaussian):
    """A subclass, likewise."""


@pytest.mark.parametrize(
    ("directions", "target"),
    [(_OfValues(16), _TARGET), (DIRECTIONS["random"](16), _Moved(0.0, 0.7, 1.0))],
    ids=["directions", "target"],
)
def test_a_subclass_says_itself_whether_it_can_be_recorded(
    directions: Directions,
    target: RectifiedGeneralizedGaussian,
    recordings: list[_Replays],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rdm_reg = _joined(monkeypatch)
    rdm_reg.directions, rdm_reg.target = directions, target
    _steps(rdm_reg, 3)
    assert not recordings


def test_another_target_is_recorded_anew(
    recordings: list[_Replays], monkeypatch: pytest.MonkeyPatch
) -> None:
    rdm_reg = _joined(monkeypatch)
    first = _steps(rdm_reg, 2)
    rdm_reg.target = RectifiedGeneralizedGaussian(-2.0, 0.7, 1.0)
    second = _steps(rdm_reg, 2)
    assert len(recordings) == 2
    assert not torch.equal(first[2], second[2])


def test_a_cpu_records_nothing() -> None:
    recorder = Recorder()
    for _ in range(3):
        _call(recorder, "a", 3)
    assert not recorder._recordings
    rdm_reg = RDMReg(_TARGET, DIRECTIONS["random"](16))
    _steps(rdm_reg, 3)
    assert not rdm_reg._recorder._recordings


@_gpu
@pytest.mark.parametrize("generator", [True, False], ids=["own generator", "torch's"])
@pytest.mark.parametrize("directions", ["random", "hadamard"])
@pytest.mark.parametrize("p", [0.5, 1.0, 2.0])
def test_recorded_steps_are_those_of_the_program(
    p: float, directions: str, generator: bool
) -> None:
    steps = []
    for cuda_graph in (True, False):
        target = RectifiedGeneralizedGaussian(0.0, 0.7, p)
        rdm_reg = RDMReg(target, DIRECTIONS[directions](100), cuda_graph=cuda_graph)
        torch.manual_seed(0)
        own = torch.Generator("cuda").manual_seed(1) if generator else None
        found = [value for step in range(5) for value in _step(rdm_reg, step, own, "cuda")]
        steps.append([*found, torch.rand(3, device="cuda", generator=own)])
        assert bool(rdm_reg._recorder._recordings) is cuda_graph
    assert all(torch.equal(one, other) for one, other in zip(*steps, strict=True))


@_gpu
def test_a_gradient_outlives_the_next_step() -> None:
    rdm_reg = RDMReg(_TARGET, DIRECTIONS["hadamard"](100))
    _steps(rdm_reg, 2, "cuda")
    views = torch.rand(2, 16, 8, device="cuda").requires_grad_()
    value = rdm_reg(views, generator=torch.Generator("cuda").manual_seed(0))
    (at_once,) = torch.autograd.grad(value, views, retain_graph=True)
    _steps(rdm_reg, 1, "cuda")
    (later,) = torch.autograd.grad(value, views)
    assert torch.equal(at_once, later)


def _joined(monkeypatch: pytest.MonkeyPatch, directions: str = "random", **options: bool) -> RDMReg:
    """Make the loss work on a CPU as it does on a GPU."""
    monkeypatch.setattr("solo_plugins.losses.sorted_difference.joins_views", lambda device: True)
    return RDMReg(_TARGET, DIRECTIONS[directions](16), **options)


def _steps(rdm_reg: RDMReg, num: int, device: str = "cpu") -> list[Tensor]:
    """Give value and gradient of each step."""
    generator = torch.Generator(device).manual_seed(1)
    return [value for step in range(num) for value in _step(rdm_reg, step, generator, device)]


def _step(
    rdm_reg: RDMReg, step: int, generator: torch.Generator | None, device: str
) -> list[Tensor]:
    views = torch.rand(2, 16, 8, generator=torch.Generator().manual_seed(step)).to(device)
    views.requires_grad_()
    value = rdm_reg(views, generator=generator)
    return [value.detach(), *torch.autograd.grad(3 * value, views)]
