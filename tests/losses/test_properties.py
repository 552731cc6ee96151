# SPDX-License-Identifier: MIT
"""The losses on any outputs: any precision and layout, constant, duplicated and zero ones."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from solo_plugins.distributions import RectifiedGeneralizedGaussian
from solo_plugins.losses import DIRECTIONS, RDMReg, SIGReg
from solo_plugins.losses.sigreg import epps_pulley
from solo_plugins.losses.sliced_wasserstein import sliced_wasserstein

# of both signs, on purpose
pytestmark = pytest.mark.filterwarnings("ignore:Some outputs are negative")

FIXED = {"derandomize": True, "deadline": None, "database": None}
DTYPES = st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64])
KINDS = st.sampled_from(["normal", "sparse", "constant", "zero", "duplicated", "large", "tiny"])


@st.composite
def _outputs(draw: st.DrawFn, rows: tuple[int, int] = (2, 9)) -> Tensor:
    """Draw outputs (N, D) of any kind, of one output too, contiguous or not."""
    n, d = draw(st.integers(*rows)), draw(st.integers(1, 9))
    x = torch.randn(n, d, generator=torch.Generator().manual_seed(draw(st.integers(0, 99))))
    x = {
        "normal": x,
        "sparse": x.relu(),
        "constant": torch.full_like(x, 0.7),
        "zero": torch.zeros_like(x),
        "duplicated": x[:1].expand(n, d).clone(),
        "large": 1e4 * x,
        "tiny": 1e-6 * x,
    }[draw(KINDS)].to(draw(DTYPES))
    return torch.stack([x, x], dim=2)[..., 0] if draw(st.booleans()) else x


def _reference(z: Tensor, target: Tensor, directions: Tensor) -> Tensor:
    """Sort what is projected, all in float64."""
    pairs = (rows.double() @ directions.double().T for rows in (z, target))
    first, second = (rows.sort(dim=0).values for rows in pairs)
    return (first - second).square().mean()


@settings(max_examples=60, **FIXED)
@given(z=_outputs(), num=st.integers(1, 5), seed=st.integers(0, 99))
def test_the_distance_is_that_of_float64(z: Tensor, num: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    target = torch.rand(z.shape, generator=generator)
    directions = torch.nn.functional.normalize(
        torch.randn(num, z.size(1), generator=generator), dim=1
    )
    z = z.requires_grad_()
    loss = sliced_wasserstein(z, target, directions)
    loss.backward()
    wanted = _reference(z.detach(), target, directions)
    # float32 rounds each of D products and ranks may be exchanged where values differ by 2**-20 of
    # the largest, both relative to the square of what is compared
    size = float(z.detach().double().abs().max()) + 1
    bound = 2.0**-19 * z.size(1) * size**2
    assert float(loss.detach()) == pytest.approx(float(wanted), abs=bound)
    assert z.grad is not None
    assert z.grad.dtype == z.dtype
    # Whatever the order of equal values, all rows together are moved by the difference of means.
    means = z.detach().double().mean(dim=0) - target.double().mean(dim=0)
    together = 2 / num * (directions.double() @ means) @ directions.double()
    eps = torch.finfo(z.dtype).eps
    absolute = z.grad.double().abs().sum(dim=0) * eps + 2.0**-19 * z.size(1) * size
    assert bool(((z.grad.double().sum(dim=0) - together).abs() <= absolute).all())


@settings(max_examples=50, **FIXED)
@given(
    z=_outputs(),
    kind=st.sampled_from(sorted(DIRECTIONS)),
    p=st.floats(0.05, 50),
    mu=st.floats(-50, 50),
)
def test_rdmreg_is_finite_or_a_clear_error(z: Tensor, kind: str, p: float, mu: float) -> None:
    law = RectifiedGeneralizedGaussian(mu, 1.0, p)
    rdm_reg = RDMReg(law, DIRECTIONS[kind](12))
    z = z.requires_grad_()
    if kind == "hadamard" and z.size(1) < 2:
        with pytest.raises(ValueError, match="at least 2 outputs but got 1"):
            rdm_reg(z)
        return
    generator = torch.Generator().manual_seed(0)
    loss = rdm_reg([z, z], generator=generator)
    loss.backward()
    assert loss.isfinite()
    assert loss >= 0
    assert z.grad is not None
    assert z.grad.isfinite().all()


@settings(max_examples=40, **FIXED)
@given(z=_outputs((1, 9)))
def test_sigreg_is_that_of_float64(z: Tensor) -> None:
    assert SIGReg(3)([z, z]).isfinite()
    found, wanted = epps_pulley(z), epps_pulley(z.double())
    # An angle is up to 3 |z|, whose cosine has its rounding; N of them are averaged and squared.
    bound = 2.0**-20 * len(z) * (1 + 3 * z.double().abs().max())
    assert found.dtype == torch.promote_types(z.dtype, torch.float32)
    assert bool(((found.double() - wanted).abs() <= bound).all())


def test_a_direction_of_zeros_becomes_one_of_unit_length(monkeypatch: pytest.MonkeyPatch) -> None:
    zeros = torch.tensor([[0.0, 0.0], [3.0, 4.0]])
    monkeypatch.setattr("solo_plugins.losses.directions._normal", lambda *_: zeros)
    rows = DIRECTIONS["random"](2)([torch.zeros(2, 2)]).dense()
    torch.testing.assert_close(rows, torch.tensor([[1.0, 0.0], [0.6, 0.8]]))
