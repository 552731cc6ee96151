# SPDX-License-Identifier: MIT
"""What a run logs of its outputs at the end of an epoch, and that it is no part of the model."""

import csv
import json
import math
import re
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback
from omegaconf import DictConfig

from solo_plugins.distributions import GeneralizedGaussian
from solo_plugins.training.pretrain import PretrainResult, pretrain

Make = Callable[..., DictConfig]
pytestmark = pytest.mark.usefixtures("methods", "lightning_quiet")

NAMES = {
    "all_zero_rows", "dead_outputs", "always_on_outputs", "effective_rank", "marginal_distance",
    "nhsic",
}  # fmt: skip


class _Watch(Callback):
    """Keeps what the projector gives in an epoch of training and of validation."""

    def __init__(self) -> None:
        self.outputs: dict[str, list[torch.Tensor]] = {"train": [], "val": []}
        self.features: list[torch.Tensor] = []

    def setup(self, trainer: Any, module: Any, stage: str) -> None:
        module.projector.register_forward_hook(self._keep)

    def on_train_epoch_start(self, *_: Any) -> None:
        self.outputs, self.features = {"train": [], "val": []}, []

    def _keep(self, projector: Any, inputs: Any, z: torch.Tensor) -> None:
        if not projector.training:
            self.features.append(inputs[0].detach().clone())
        self.outputs["train" if projector.training else "val"].append(z.detach().clone())

    def joined(self, stage: str) -> np.ndarray:
        return torch.cat(self.outputs[stage]).numpy()


@pytest.fixture(scope="module")
def watched(
    cfg_below: Make, tmp_path_factory: pytest.TempPathFactory
) -> tuple[_Watch, PretrainResult]:
    """Train two epochs and return what the projector gave in the last one, and the result."""
    watch, folder = _Watch(), tmp_path_factory.mktemp("watched")
    cfg = cfg_below(folder, num_sanity_val_steps=2, method_kwargs__mean_shift_value=-1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return watch, pretrain(cfg, callbacks=[watch])


@pytest.mark.parametrize("stage", ["train", "val"])
@pytest.mark.parametrize(
    "name", ["dead_outputs", "always_on_outputs", "all_zero_rows", "effective_rank"]
)
def test_an_epochs_diagnostics_are_those_of_all_its_outputs(
    name: str, stage: str, watched: tuple[_Watch, PretrainResult], by_numpy: Callable
) -> None:
    watch, result = watched
    wanted = by_numpy(watch.joined(stage))[name]
    rel = 1e-4 if name == "effective_rank" else 1e-6
    assert result.metrics[f"{stage}_{name}"] == pytest.approx(wanted, rel=rel)


def test_the_backbones_rank_is_that_of_all_its_features(
    watched: tuple[_Watch, PretrainResult], by_numpy: Callable
) -> None:
    watch, result = watched
    wanted = by_numpy(torch.cat(watch.features).numpy())["effective_rank"]
    logged = result.metrics["val_backbone_effective_rank"]
    assert logged == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("name", ["l0", "l1"])
def test_validation_sparsity_is_that_of_all_its_rows(
    name: str, watched: tuple[_Watch, PretrainResult], by_numpy: Callable
) -> None:
    watch, result = watched
    wanted = by_numpy(watch.joined("val"))[name]
    assert result.metrics[f"val_{name}_sparsity_metric"] == pytest.approx(wanted)


def test_the_targets_share_is_logged(watched: tuple[_Watch, PretrainResult]) -> None:
    # p = 1: half of exp(mu / sigma) with sigma = 1 / sqrt 2
    wanted = 0.5 * math.exp(-math.sqrt(2))
    assert watched[1].metrics["val_target_l0"] == pytest.approx(wanted)


@pytest.mark.parametrize("stage", ["train", "val"])
def test_diagnostics_are_in_log_and_summary(
    stage: str, watched: tuple[_Watch, PretrainResult]
) -> None:
    result = watched[1]
    with (result.folder / "metrics.csv").open() as file:
        columns = set(next(csv.reader(file)))
    summary = json.loads((result.folder / "summary.json").read_text())
    logged = {f"{stage}_{name}" for name in NAMES}
    logged |= {"val_backbone_effective_rank"}
    assert logged <= columns & set(summary) & set(result.metrics)
    assert 0 < result.metrics[f"{stage}_nhsic"] < 1


def test_diagnostics_are_not_in_the_checkpoint(watched: tuple[_Watch, PretrainResult]) -> None:
    checkpoint = torch.load(watched[1].checkpoint, weights_only=True)
    assert not any("diagnostics" in name for name in checkpoint["state_dict"])


class _LastOutputs(Callback):
    """Keeps the active fraction of the outputs of each step, by hand."""

    def __init__(self) -> None:
        self.active: list[float] = []

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        objective = pl_module.objective

        def watched(views: Any, batch_idx: int) -> Any:
            self.active.append(float((torch.cat(list(views)) > 0).double().mean()))
            return objective(views, batch_idx)

        pl_module.objective = watched


@pytest.mark.parametrize("interval", [1, 2, 100])
def test_the_active_fraction_of_a_run_without_validation_is_that_of_its_last_step(
    interval: int, make_cfg: Make, capsys: pytest.CaptureFixture
) -> None:
    outputs = _LastOutputs()
    cfg = make_cfg(limit_val_batches=0, method_kwargs__logging_interval=interval, optimizer__lr=1.0)
    result = pretrain(cfg, callbacks=[outputs])
    said = capsys.readouterr().out
    assert len(outputs.active) == 6
    assert len({f"{100 * active:.1f}" for active in outputs.active}) > 3
    lines = re.findall(r"^epoch \d/2 .*active ([\d.]+) %", said, re.MULTILINE)
    assert lines == [f"{100 * outputs.active[step]:.1f}" for step in (2, 5)]
    assert f"Active outputs: {lines[1]} %" in said
    with (result.folder / "metrics.csv").open() as file:
        logged = [row["train_l0_sparsity_metric_last"] for row in csv.DictReader(file)]
    got = [f"{100 * float(value):.1f}" for value in logged if value]
    assert got == lines


def test_every_epoch_has_training_diagnostics_however_few_its_steps(make_cfg: Make) -> None:
    folder = pretrain(make_cfg(method_kwargs__logging_interval=100)).folder
    with (folder / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["epoch"]]
    for name in ("train_dead_outputs", "val_dead_outputs"):
        assert {row["epoch"] for row in rows if row[name]} == {"0", "1"}


def test_a_row_of_the_log_has_the_values_of_its_own_step_alone(make_cfg: Make) -> None:
    cfg = make_cfg(limit_val_batches=0, method_kwargs__logging_interval=2, log_every_n_steps=1)
    with (pretrain(cfg).folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    for name, steps in {
        "l0_sparsity_metric": "0 2 4 5",
        "rectified_lp_jepa_loss": "0 1 2 3 4 5",
    }.items():
        of_steps = [row for row in rows if row[f"train_{name}_step"]]
        assert [row["step"] for row in of_steps] == steps.split()


class _Retarget(Callback):
    """Gives the method another target in the middle of training."""

    def on_train_batch_end(self, trainer: Any, module: Any, *_: Any) -> None:
        module.rdm_reg.target = GeneralizedGaussian(1000.0, 1.0, 2.0)


def test_marginals_are_measured_against_the_target_of_the_moment(make_cfg: Make) -> None:
    cfg = make_cfg(max_epochs=1, optimizer__lr=0.0)  # the outputs stay near 0
    metrics = pretrain(cfg, callbacks=[_Retarget()]).metrics
    for stage in ("train", "val"):
        assert metrics[f"{stage}_marginal_distance"] == pytest.approx(1000, rel=0.05)


def test_a_method_without_target_logs_no_marginal_distance(make_cfg: Make) -> None:
    metrics = pretrain(make_cfg("ncl", max_epochs=1, checkpoint__enabled=False)).metrics
    assert {f"val_{name}" for name in NAMES - {"marginal_distance"}} <= set(metrics)
    assert "val_marginal_distance" not in metrics


@pytest.mark.parametrize("precision", ["bf16-true", "bf16-mixed"])
def test_outputs_with_thresholds_are_probed_in_low_precision(
    precision: str, make_cfg: Make
) -> None:
    kwargs = {"method_kwargs__threshold_rate": 0.1, "method_kwargs__row_floor": 0.25}
    kwargs["method_kwargs__add_projector_classifier"] = True
    metrics = pretrain(make_cfg(max_epochs=1, precision=precision, **kwargs)).metrics
    assert 0 <= metrics["val_proj_acc1"] <= 100
