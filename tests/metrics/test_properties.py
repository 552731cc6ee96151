# SPDX-License-Identifier: MIT
"""The measures on any outputs, judged by their definitions in numpy."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from solo_plugins.distributions import RectifiedGeneralizedGaussian
from solo_plugins.metrics import OutputDiagnostics, l0_sparsity, l1_sparsity, nhsic

FIXED = {"derandomize": True, "deadline": None, "database": None}
DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@st.composite
def _outputs(draw: st.DrawFn) -> Tensor:
    """Draw outputs (N, D) with zeros, ties and equal rows, of any precision and layout."""
    n, d = draw(st.integers(1, 12)), draw(st.integers(1, 9))
    values = st.sampled_from([0.0, 0.0, 0.5, 1.0, 2.0, 100.0, 1e-3])
    row = st.lists(values, min_size=d, max_size=d)
    rows = [draw(row)] * n if draw(st.booleans()) else draw(st.lists(row, min_size=n, max_size=n))
    z = torch.tensor(rows).to(draw(st.sampled_from(DTYPES)))
    return torch.stack([z, z], dim=2)[..., 0] if draw(st.booleans()) else z


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], **FIXED)
@given(z=_outputs())
def test_diagnostics_are_their_definitions(z: Tensor) -> None:
    numpys = test_diagnostics_are_their_definitions.by_numpy  # type: ignore[attr-defined]
    diagnostics = OutputDiagnostics(z.size(1), RectifiedGeneralizedGaussian(0.0, 1.0, 1.0))
    diagnostics.update(z[: len(z) // 2])
    diagnostics.update(z[len(z) // 2 :])
    found = {name: float(value) for name, value in diagnostics.compute().items()}
    active = bool((z != 0).any())
    with torch.no_grad():
        wanted = numpys(z.double().numpy()) if active else {"l0": 0.0, "l1": math.nan}
    for name in wanted:
        if name == "effective_rank" and bool((z == z[:1]).all()):
            assert found[name] == 0  # as its docstring says of equal rows
        elif math.isnan(wanted[name]):
            assert math.isnan(found[name])
        else:
            # shares of float32 rows: 2**-23 each, and as much for the norms; bfloat16 is exact here
            assert found[name] == pytest.approx(wanted[name], rel=1e-5, abs=1e-6)
    assert math.isfinite(found["marginal_distance"])
    assert float(l0_sparsity(z)) == pytest.approx(found["l0"], rel=1e-6)
    assert float(l1_sparsity(z)) == pytest.approx(found["l1"], rel=1e-5, nan_ok=True)
    dependence = float(nhsic(z))
    varying = int((z != z[:1]).any(dim=0).sum())
    assert math.isnan(dependence) if varying < 2 else -1e-9 <= dependence <= 1 + 1e-9


@pytest.fixture(autouse=True, scope="module")
def _judge(by_numpy: Callable) -> None:
    test_diagnostics_are_their_definitions.by_numpy = by_numpy  # type: ignore[attr-defined]
