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
from torchmetrics import Metric

from solo_plugins import RectifiedLpJEPASettings
from solo_plugins.losses import DIRECTIONS
from solo_plugins.methods.rectified_lpjepa.criterion import Criterion

# Tried: 2.6.0, which ends the process, and 2.14.1.
pytestmark = pytest.mark.skipif(
    torch.__version__ < "2.7", reason="this torch pretends no card where it has no driver"
)

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


def _move(module: nn.Module) -> None:
    """Put a module's tensors on the card; `to` would ask the driver."""
    for part in module.modules():
        for name, value in part.named_parameters(recurse=False):
            part._parameters[name] = nn.Parameter(_pretended(value))
        for name, value in part.named_buffers(recurse=False):
            part._buffers[name] = _pretended(value)
        if isinstance(part, Metric):
            for name, value in part.metric_state.items():
                if isinstance(value, Tensor):
                    setattr(part, name, _pretended(value))


def _pretended(value: Tensor) -> Tensor:
    return torch.empty(value.shape, dtype=value.dtype, device="cuda")


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
        _move(projector)
        _move(criterion)
        views = [projector(torch.randn(6, 12, device="cuda")) for _ in range(3)]
        loss, terms = criterion(views, num_large=2, progress=0.3)
        criterion.control(torch.cat(views[:2]), projector, progress=0.3)
    assert {value.device.type for value in (loss, *terms.values())} == {"cuda"}


# VICReg and NVICReg take solo-learn's covariance loss, whose mask is waited for.
@pytest.mark.parametrize("method", ["rectified_lpjepa", "lejepa", "lpjepa", "ncl"])
def test_a_whole_step_with_probes_and_diagnostics_waits_for_nothing(
    method: str, model_and_batch: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, (indexes, crops, targets) = model_and_batch(method, {"add_projector_classifier": True})
    monkeypatch.setattr(type(model), "device", torch.device("cuda"), raising=False)
    model.step_generator = lambda _: None  # torch makes none of a card that is not there
    with _Card():
        _move(model)
        batch = [_pretended(indexes), [*map(_pretended, crops)], _pretended(targets)]
        out = model.training_step(batch, 0)
    assert {value.device.type for value in out.values()} == {"cuda"}
    assert model.train_diagnostics.num_active.device.type == "cuda"


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
