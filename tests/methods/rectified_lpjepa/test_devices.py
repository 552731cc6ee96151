# SPDX-License-Identifier: MIT
"""The method on a graphics card that is not there: torch's fake tensors of the device `cuda`.

They have shapes, dtypes and devices but no values. An operation on tensors of two devices is an
error, and so is one that needs a value, such as `.item()`, for which the program would wait.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensor, FakeTensorMode
from torch.utils._pytree import tree_leaves

from solo_plugins import RectifiedLpJEPASettings
from solo_plugins.losses import DIRECTIONS, SIGReg
from solo_plugins.methods.rectified_lpjepa.criterion import Criterion
from solo_plugins.metrics import OutputDiagnostics

_SPARSE = {"target_active_fraction": 0.1}
_OPTIONS: dict[str, dict[str, Any]] = {
    "paper": {},
    "shared target": {"share_target": True},
    "unit rms": {"unit_rms_target": True},
    "warm-up": {"sparsity_warmup": 0.5, **_SPARSE},
    "thresholds": {"threshold_rate": 0.1, **_SPARSE},
    "standardized": {"standardize_outputs": True},
    "floor": {"row_floor": 0.5},
    "sigma_RGN": {"mode_of_sigma": "sigma_RGN"},
    "dense": {"target_distribution": "lp_distribution", "projector_type": "mlp"},
    "normal": {"lp_norm_parameter": 2.0},
    "heavy tail": {"lp_norm_parameter": 0.7},
    "gelu": {"projector_type": "rep_rectified_mlp"},
}


class _Card(FakeTensorMode):
    """A machine with a card: what is on the CPU is computed, what is on the card is pretended."""

    def __init__(self) -> None:
        super().__init__(allow_non_fake_inputs=True)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = kwargs or {}
        pretended = any(isinstance(value, FakeTensor) for value in tree_leaves((args, kwargs)))
        if not pretended and torch.device(kwargs.get("device") or "cpu").type == "cpu":
            return func(*args, **kwargs)
        return super().__torch_dispatch__(func, types, args, kwargs)


def _moved(module: nn.Module) -> nn.Module:
    """Put a module's tensors on the card; `to` would ask the driver."""

    def pretend(value: Tensor) -> Tensor:
        return torch.empty(value.shape, dtype=value.dtype, device="cuda")

    for part in module.modules():
        part._parameters = {
            name: value if value is None else nn.Parameter(pretend(value))
            for name, value in part._parameters.items()
        }
        part._buffers = {
            name: value if value is None else pretend(value)
            for name, value in part._buffers.items()
        }
    return module


@pytest.mark.parametrize("options", _OPTIONS.values(), ids=_OPTIONS)
@pytest.mark.parametrize("directions", DIRECTIONS)
def test_no_tensor_is_left_on_the_cpu_and_nothing_waits(directions: str, options: dict) -> None:
    settings = RectifiedLpJEPASettings(
        proj_hidden_dim=16,
        proj_output_dim=8,
        num_projections=64,
        projection_vectors_type=directions,
        **options,
    )
    projector, criterion = settings.projector(12), Criterion(settings)
    with _Card():
        _moved(projector)
        _moved(criterion)
        views = [projector(torch.randn(6, 12, device="cuda")) for _ in range(3)]
        loss, terms = criterion(views, num_large=2, progress=0.3)
        criterion.control(torch.cat(views[:2]), projector, progress=0.3)
    assert {value.device.type for value in (loss, *terms.values())} == {"cuda"}


def test_diagnostics_and_sigreg_stay_on_the_card() -> None:
    diagnostics, sigreg = OutputDiagnostics(8), SIGReg()
    with _Card():
        z = torch.rand(6, 8, device="cuda")
        _moved(sigreg)
        for name, value in diagnostics.metric_state.items():
            if isinstance(value, Tensor):
                setattr(diagnostics, name, torch.empty(value.shape, dtype=value.dtype).to(z))
        diagnostics.update(z)
        assert diagnostics.num_active.device.type == "cuda"
        assert sigreg([z, z]).device.type == "cuda"


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (lambda z: z + torch.ones(8), RuntimeError),
        (lambda z: z * float(z.mean()), DataDependentOutputException),
    ],
    ids=["a tensor on the CPU", "a value that is waited for"],
)
def test_the_card_finds_what_it_is_for(
    wrong: Callable[[Tensor], Tensor], error: type[Exception]
) -> None:
    with _Card(), pytest.raises(error):
        wrong(torch.rand(6, 8, device="cuda"))
