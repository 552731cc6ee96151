# SPDX-License-Identifier: MIT
"""ReLU with another gradient and above thresholds, against torch and numpy."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from solo_plugins.modules import RepReLU, ThresholdedReLU, rep_relu


def _draw(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(500,), (20, 7)], ids=str)
def test_rep_relu_is_relu_with_gelus_gradient(shape: tuple, dtype: torch.dtype) -> None:
    x = _draw(*shape).mul(3).to(dtype).requires_grad_()
    torch.testing.assert_close(rep_relu(x), x.relu(), rtol=0, atol=0)
    weight = _draw(*shape, seed=1).to(dtype)
    (got,) = torch.autograd.grad((rep_relu(x) * weight).sum(), x)
    (wanted,) = torch.autograd.grad((F.gelu(x) * weight).sum(), x)
    torch.testing.assert_close(got, wanted)


def test_rep_relus_gradient_is_a_finite_difference_of_gelu() -> None:
    x, step = _draw(50), 1e-6
    wanted = (F.gelu(x + step) - F.gelu(x - step)) / (2 * step)
    (got,) = torch.autograd.grad(rep_relu(x.requires_grad_()).sum(), x)
    torch.testing.assert_close(got, wanted, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("standardize", [False, True])
def test_outputs_are_what_is_above_the_threshold(standardize: bool) -> None:
    relu = ThresholdedReLU(7, standardize=standardize).eval()
    relu.threshold.copy_(_draw(7, seed=1))
    a = _draw(20, 7) * 5 + 2
    rows = a.numpy()
    if standardize:
        # torch adds 1e-5 to the variance, some 25 here
        rows = (rows - rows.mean(1, keepdims=True)) / rows.std(1, keepdims=True)
    wanted = np.maximum(rows - relu.threshold.double().numpy(), 0)
    np.testing.assert_allclose(relu(a).numpy(), wanted, atol=1e-5)


@pytest.mark.parametrize("standardize", [False, True])
def test_the_gradient_agrees_with_finite_differences(standardize: bool) -> None:
    relu = ThresholdedReLU(5, standardize=standardize).eval()
    relu.threshold.copy_(_draw(5, seed=1))
    assert torch.autograd.gradcheck(relu, _draw(6, 5).requires_grad_())


@pytest.mark.parametrize("floor", [1, 3])
def test_every_sample_keeps_its_largest_outputs(floor: int) -> None:
    relu = ThresholdedReLU(8, floor=floor).eval()
    a = _draw(40, 8)
    a[:20] -= 100  # nothing of these is above a threshold
    relu.threshold.copy_(_draw(8, seed=1) / 10)
    above = (a - relu.threshold).numpy()
    wanted = np.maximum(above, 0)
    for row, values in enumerate(above):
        if (values > 0).sum() <= floor:  # lowered to where the next one starts
            wanted[row] = np.maximum(values - np.sort(values)[-floor - 1], 0)
    np.testing.assert_allclose(relu(a).numpy(), wanted, rtol=1e-12)
    assert ((relu(a) > 0).sum(dim=1) >= floor).all()


@pytest.mark.parametrize("floor", [1, 2, 4])
def test_the_floors_gradient_agrees_with_finite_differences(floor: int) -> None:
    relu = ThresholdedReLU(6, floor=floor, standardize=True).eval()
    relu.threshold.fill_(1.5)
    a = _draw(8, 6)
    assert ((F.layer_norm(a, (6,)) > 1.5).sum(dim=1) < floor).any()
    assert torch.autograd.gradcheck(relu, a.requires_grad_())


@pytest.mark.parametrize("floor", [-1, 4])
def test_a_floor_that_cannot_be_is_refused(floor: int) -> None:
    with pytest.raises(ValueError, match=rf"`floor` to be from 0 to 3, .* but got {floor}"):
        ThresholdedReLU(4, floor=floor)


@pytest.mark.parametrize(("kind", "learns"), [(RepReLU, True), (nn.ReLU, False)])
def test_the_activation_can_be_another(kind: type[nn.Module], learns: bool) -> None:
    relu = ThresholdedReLU(3, activation=kind())
    x = torch.full((2, 3), -0.5, requires_grad=True)
    relu(x).sum().backward()
    assert bool((x.grad != 0).all()) is learns


@pytest.mark.parametrize("wanted", [0.02, 0.25, 0.9])
def test_thresholds_come_to_rest_at_each_outputs_quantile(wanted: float) -> None:
    location, scale = torch.linspace(-3, 3, 8), torch.linspace(0.2, 4, 8)
    relu = ThresholdedReLU(8)
    generator = torch.Generator().manual_seed(0)
    for _ in range(600):
        z = relu(location + scale * torch.randn(256, 8, generator=generator))
        relu.adjust(z, wanted, 0.05)
    below = (relu.threshold - location) / scale
    got = 1 - torch.special.ndtr(below)
    # A stationary step of 5 % of the spread, times an error of sqrt((1 - q) / (256 q)) or less,
    # leaves the threshold within a tenth of the spread: a share within a third of min(q, 1 - q).
    assert (got - wanted).abs().max() < min(wanted, 1 - wanted) / 3


def test_a_dead_output_comes_back() -> None:
    relu = ThresholdedReLU(2)
    a = torch.randn(128, 2, generator=torch.Generator().manual_seed(0)) - torch.tensor([20.0, 0.0])
    for _ in range(400):
        relu.adjust(relu(a), 0.05, 0.1)
    assert 0 < float((relu.eval()(a)[:, 0] > 0).float().mean()) < 0.2


@pytest.mark.parametrize("settings", [{}, {"floor": 2}, {"standardize": True}], ids=str)
def test_nothing_moves_in_evaluation(settings: dict) -> None:
    relu = ThresholdedReLU(4, **settings).eval()
    before = {name: value.clone() for name, value in relu.state_dict().items()}
    relu(torch.randn(8, 4) * 9)
    assert all(torch.equal(value, before[name]) for name, value in relu.state_dict().items())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_compared_in_float32(dtype: torch.dtype) -> None:
    relu = ThresholdedReLU(4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert relu(torch.randn(8, 4).to(dtype)).dtype == torch.float32


@pytest.mark.parametrize("num", [0, -3])
def test_an_empty_layer_is_refused(num: int) -> None:
    with pytest.raises(ValueError, match=f"`num_outputs` to be positive but got {num}"):
        ThresholdedReLU(num)


@pytest.mark.parametrize(
    ("settings", "shown"),
    [
        ({"standardize": True}, "4, standardize=True, floor=0"),
        ({"floor": 3}, "4, standardize=False, floor=3"),
    ],
)
def test_the_layer_prints_its_settings(settings: dict, shown: str) -> None:
    assert shown in repr(nn.Sequential(ThresholdedReLU(4, **settings)))
