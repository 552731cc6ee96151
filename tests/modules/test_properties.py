# SPDX-License-Identifier: MIT
"""The projector's last step on any outputs, judged by its formula in numpy and scipy."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from torch import Tensor

from solo_plugins.modules import ThresholdedReLU, rep_relu

FIXED = {"derandomize": True, "deadline": None, "database": None}
DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@st.composite
def _outputs(draw: st.DrawFn) -> Tensor:
    n, d = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    scale = draw(st.sampled_from([0.0, 1e-3, 1.0, 30.0]))
    x = scale * torch.randn(n, d, generator=torch.Generator().manual_seed(draw(st.integers(0, 99))))
    x = (x[:1].expand(n, d) if draw(st.booleans()) else x).to(draw(st.sampled_from(DTYPES)))
    return torch.stack([x, x], dim=2)[..., 0] if draw(st.booleans()) else x


@settings(max_examples=60, **FIXED)
@given(x=_outputs())
def test_rep_relu_has_the_value_of_relu_and_the_gradient_of_gelu(x: Tensor) -> None:
    x = x.requires_grad_()
    y = rep_relu(x)
    y.sum().backward()
    assert x.grad is not None
    values, eps = x.detach().double().numpy(), torch.finfo(x.dtype).eps
    np.testing.assert_array_equal(y.detach().double().numpy(), np.maximum(values, 0))
    wanted = norm.cdf(values) + values * norm.pdf(values)
    # three operations are rounded, and x^2 in the exponent, which is at most 100 where it counts
    np.testing.assert_allclose(x.grad.double().numpy(), wanted, rtol=0, atol=32 * eps)


@settings(max_examples=60, **FIXED)
@given(a=_outputs(), floor=st.integers(0, 8), standardize=st.booleans(), rate=st.floats(1e-3, 1))
def test_thresholds_leave_the_floor_and_move_by_the_rate(
    a: Tensor, floor: int, standardize: bool, rate: float
) -> None:
    dim = a.size(1)
    relu = ThresholdedReLU(dim, standardize=standardize, floor=min(floor, dim - 1))
    relu.threshold.fill_(0.1)
    z = relu(a)
    assert z.dtype == torch.promote_types(a.dtype, torch.float32)
    assert z.isfinite().all()
    assert bool((z >= 0).all())
    if not standardize and not relu.floor:
        wanted = np.maximum(a.to(z.dtype).numpy() - relu.threshold.numpy(), 0)
        np.testing.assert_allclose(z.numpy(), wanted, rtol=1e-6)
    before = relu.threshold.clone()
    relu.adjust(z, 0.3, rate)
    moved = (relu.threshold - before).abs()
    assert bool((moved <= rate * relu.spread * (1 + 1e-5) + 1e-7).all())
