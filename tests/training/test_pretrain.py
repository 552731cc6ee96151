# SPDX-License-Identifier: MIT
"""Runs of the method on the digits: what is trained, logged, kept and resumed."""

import csv
import json
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from omegaconf import DictConfig, OmegaConf
from torch import nn

from solo_plugins.errors import ConfigurationError, NonFiniteLossError
from solo_plugins.training.pretrain import pretrain

Make = Callable[..., DictConfig]
pytestmark = pytest.mark.usefixtures("methods", "lightning_quiet")


def _rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def _weights(checkpoint: Path) -> dict[str, Any]:
    return torch.load(checkpoint, weights_only=True)


def test_a_run_leaves_checkpoint_configuration_log_and_summary(make_cfg: Make) -> None:
    cfg = make_cfg(knn_eval__enabled=True, method_kwargs__add_projector_classifier=True)
    result = pretrain(cfg)
    assert result.checkpoint == result.folder / "last.ckpt"
    assert _weights(result.checkpoint)["epoch"] == 2
    assert OmegaConf.load(result.folder / "config.yaml").optimizer.lr == 0.1
    assert OmegaConf.load(result.folder / "resolved.yaml").optimizer.lr == 0.1 * 16 / 256
    assert json.loads((result.folder / "summary.json").read_text())["steps"] == 6
    columns = set(_rows(result.folder)[0])
    assert {
        "train_rectified_lp_jepa_loss_step",
        "train_invariance_loss_step",
        "train_rdm_reg_loss_step",
        "train_l0_sparsity_metric_step",
        "train_l1_sparsity_metric_step",
        "train_target_l0_step",
        "train_acc1_step",
        "train_proj_acc1_step",
        "val_acc1",
        "val_proj_acc1",
        "val_knn_acc1",
        "val_l0_sparsity_metric",
        "val_l1_sparsity_metric",
        "val_target_l0",
        "step",
        "epoch",
    } <= columns


def test_every_step_is_logged(make_cfg: Make) -> None:
    rows = _rows(pretrain(make_cfg(max_epochs=1)).folder)
    losses = [row["train_rectified_lp_jepa_loss_step"] for row in rows]
    assert len([loss for loss in losses if loss]) == 3


def test_the_printed_target_is_the_closed_form(
    make_cfg: Make, capsys: pytest.CaptureFixture
) -> None:
    # p = 1: half of exp(mu / sigma) with sigma = 1 / sqrt 2
    pretrain(make_cfg(max_epochs=1, method_kwargs__mean_shift_value=-1.0))
    printed = capsys.readouterr().out
    assert "Running on cpu, 1 device, precision 32-true" in printed
    assert "(the target has 12.2 %)" in printed
    assert "Checkpoint: " in printed


_CONTROLS = {"sparsity_warmup": 0.7, "threshold_rate": 0.1}


@pytest.mark.parametrize("controls", [{}, _CONTROLS], ids=["plain", "controlled"])
def test_a_killed_run_resumes_bit_for_bit(
    controls: dict,
    make_cfg: Make,
    killed_after: Callable,
    tmp_path: Path,
) -> None:
    settings = {
        **{f"method_kwargs__{name}": value for name, value in controls.items()},
        "max_epochs": 3,
        "auto_resume__enabled": True,
        "method_kwargs__add_projector_classifier": True,
        "num_sanity_val_steps": 2,
        "optimizer__name": "adamw",
        "optimizer__lr": 1e-3,
    }
    whole = pretrain(make_cfg(checkpoint__dir=str(tmp_path / "whole"), **settings))
    cfg = make_cfg(checkpoint__dir=str(tmp_path / "killed"), **settings)
    with pytest.raises(RuntimeError, match="killed"):
        pretrain(cfg, callbacks=[killed_after(5)])
    (killed,) = (tmp_path / "killed" / "rectified_lpjepa").iterdir()
    assert _weights(killed / "last.ckpt")["epoch"] == 1
    resumed = pretrain(cfg)
    assert resumed.folder == killed
    wanted, got = _weights(whole.checkpoint), _weights(resumed.checkpoint)
    for name, value in wanted["state_dict"].items():
        assert torch.equal(value, got["state_dict"][name]), name
    (wanted_state,), (got_state,) = wanted["optimizer_states"], got["optimizer_states"]
    torch.testing.assert_close(got_state["state"], wanted_state["state"], rtol=0, atol=0)
    assert got["global_step"] == wanted["global_step"] == 9
    steps = [row["step"] for row in _rows(killed) if row["train_invariance_loss_step"]]
    assert steps == [str(step) for step in range(9)]


def test_a_finished_run_is_reported_and_not_repeated(
    make_cfg: Make, capsys: pytest.CaptureFixture
) -> None:
    cfg = make_cfg(max_epochs=1, auto_resume__enabled=True)
    first = pretrain(cfg)
    capsys.readouterr()
    second = pretrain(cfg)
    assert second.folder == first.folder
    assert "nothing to do" in capsys.readouterr().out
    assert second.metrics["val_acc1"] == pytest.approx(first.metrics["val_acc1"])


@pytest.mark.parametrize("change", [{"max_epochs": 2}, {"method_kwargs__mean_shift_value": -1.0}])
def test_another_configuration_is_another_run(change: dict, make_cfg: Make) -> None:
    settings = {"max_epochs": 1, "auto_resume__enabled": True}
    first = pretrain(make_cfg(**settings))
    assert pretrain(make_cfg(**{**settings, **change})).folder != first.folder


def test_periodic_checkpoints_are_kept_when_asked(make_cfg: Make) -> None:
    cfg = make_cfg(max_epochs=4, checkpoint__frequency=2, checkpoint__keep_prev=True)
    folder = pretrain(cfg).folder
    assert sorted(path.name for path in folder.glob("*.ckpt")) == [
        "last.ckpt",
        "previous.ckpt",
        "test-ep=1.ckpt",
        "test-ep=3.ckpt",
    ]


def test_a_checkpoint_that_does_not_fit_is_refused(make_cfg: Make) -> None:
    folder = pretrain(make_cfg(max_epochs=1)).folder
    other = make_cfg(resume_from_checkpoint=str(folder), method_kwargs__proj_output_dim=8)
    with pytest.raises(
        ConfigurationError, match=r"projector.6.weight is \(16, 32\), not \(8, 32\)"
    ):
        pretrain(other)


class _Poison(Callback):
    """Makes a weight NaN at a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(self, trainer: Any, module: Any, *_: Any) -> None:
        if trainer.global_step == self.step:
            with torch.no_grad():
                module.projector[0].weight.fill_(float("nan"))


def test_a_nan_stops_the_run_and_keeps_the_last_good_checkpoint(
    make_cfg: Make, tmp_path: Path
) -> None:
    with pytest.raises(NonFiniteLossError, match=r"`invariance` was not at step 4.*last\.ckpt"):
        pretrain(make_cfg(max_epochs=3), callbacks=[_Poison(4)])
    (folder,) = (tmp_path / "runs" / "rectified_lpjepa").iterdir()
    saved = _weights(folder / "last.ckpt")
    assert saved["epoch"] == 1
    assert all(value.isfinite().all() for value in saved["state_dict"].values())


@pytest.mark.parametrize(
    "settings",
    [
        {"target_distribution": "lp_distribution", "projector_type": "mlp"},
        {"mode_of_sigma": "sigma_RGN", "mean_shift_value": -1.0},
        {"lp_norm_parameter": 2.0},
        {"lp_norm_parameter": 0.5, "share_target": True},
        {"projection_vectors_type": "orthogonal"},
        {"projection_vectors_type": "hadamard"},
        {"projection_vectors_type": "torch_svd_and_random"},
        {"projection_vectors_type": "torch_svd_bottom_half_eigen_and_random"},
        {"add_projector_classifier": True},
    ],
    ids=str,
)
def test_every_value_of_the_methods_settings_trains(settings: dict, make_cfg: Make) -> None:
    cfg = make_cfg(max_epochs=1, limit_train_batches=2, checkpoint__enabled=False)
    cfg.method_kwargs.update(settings)
    metrics = pretrain(cfg).metrics
    assert 0 < metrics["train_rdm_reg_loss_epoch"] < 100
    assert metrics["train_invariance_loss_epoch"] > 0


_LARS = {"name": "lars", "kwargs": {"eta": 0.02, "clip_lr": True, "exclude_bias_n_norm": True}}


@pytest.mark.parametrize(
    ("precision", "optimizer", "below"),
    [
        ("32-true", {"name": "adamw", "lr": 8e-3}, 0.8),
        # on a CPU a step takes three times as long
        pytest.param("bf16-mixed", {"name": "adamw", "lr": 8e-3}, 0.8, marks=pytest.mark.torture),
        # the rate of the CIFAR YAML, which is made for a thousand epochs
        pytest.param("32-true", {**_LARS, "lr": 0.3}, 0.97, marks=pytest.mark.torture),
    ],
    ids=["adamw", "adamw-bf16", "lars"],
)
def test_the_loss_falls(
    precision: str, optimizer: dict, below: float, make_cfg: Make, augmentation: Callable
) -> None:
    cfg = make_cfg(
        max_epochs=4,
        limit_train_batches=10,
        limit_val_batches=0,
        backbone={"name": "timm/resnet10t", "kwargs": {"channels": [16, 32, 64, 128]}},
        optimizer__batch_size=32,
        precision=precision,
        augmentations=[augmentation(crop_size=16)],
    )
    cfg.optimizer.update(optimizer)
    rows = _rows(pretrain(cfg).folder)
    key = "train_rectified_lp_jepa_loss_epoch"
    losses = [float(row[key]) for row in rows if row[key]]
    assert len(losses) == 4
    assert losses[-1] < below * losses[0]


@pytest.mark.ddp
def test_two_processes_train(make_cfg: Make, start_ranks: Callable, tmp_path: Path) -> None:
    OmegaConf.save(make_cfg(max_epochs=1, devices=2, strategy="ddp"), tmp_path / "two.yaml")
    given = ["--config-path", str(tmp_path), "--config-name", "two"]
    done = [rank.wait() for rank in start_ranks("-W", "ignore", "main_pretrain.py", *given)]
    assert [rank.returncode for rank in done] == [0, 0], done[0].stderr + done[1].stderr
    assert [rank.stdout.count("Running on cpu, 2 devices") for rank in done] == [1, 0]
    (folder,) = (tmp_path / "runs" / "rectified_lpjepa").iterdir()
    assert json.loads((folder / "summary.json").read_text())["steps"] == 3


def test_augmentations_are_printed_when_asked(
    make_cfg: Make, capsys: pytest.CaptureFixture
) -> None:
    pretrain(make_cfg(debug_augmentations=True, max_epochs=1, limit_train_batches=1))
    printed = capsys.readouterr().out
    assert "Transforms:" in printed
    assert "RandomResizedCrop(size=(32, 32), scale=(0.5, 1.0)" in printed


def test_the_profile_is_printed_where_hydra_silences_lightning(
    make_cfg: Make, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    logger = logging.getLogger("lightning.pytorch.profilers.profiler")
    monkeypatch.setattr(logger, "disabled", True)  # as hydra's `disabled` job_logging does
    small = {"max_epochs": 1, "limit_train_batches": 1, "limit_val_batches": 0}
    pretrain(make_cfg(**small, profiler="simple"))
    assert "run_training_batch" in capsys.readouterr().out


def test_networks_are_compiled_and_weights_keep_their_names(
    make_cfg: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    # traced by dynamo but run as it is: the default compiler takes half a minute
    compile_module = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda self: compile_module(self, backend="eager"))
    small = {"max_epochs": 1, "limit_train_batches": 2, "limit_val_batches": 0}
    plain = pretrain(make_cfg(**small))
    compiled = pretrain(make_cfg(**small, performance__compile=True))
    assert compiled.folder != plain.folder
    wanted, got = (_weights(run.folder / "last.ckpt")["state_dict"] for run in (plain, compiled))
    assert list(wanted) == list(got)
    torch.testing.assert_close(got, wanted)
    assert compiled.metrics["train_rectified_lp_jepa_loss"] == pytest.approx(
        plain.metrics["train_rectified_lp_jepa_loss"], rel=1e-5
    )


def test_a_missing_compiler_is_named(make_cfg: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(
        ConfigurationError, match=r"'no-such-compiler'.*`performance.compile: true`"
    ):
        pretrain(make_cfg(performance__compile=True))


def test_a_warm_up_that_does_not_end_and_a_share_that_is_missed_are_said(
    make_cfg: Make, capsys: pytest.CaptureFixture
) -> None:
    small = {"max_epochs": 1, "limit_train_batches": 1, "limit_val_batches": 1}
    small |= {"scheduler__warmup_epochs": 2, "method_kwargs": {"mean_shift_value": -3.0}}
    pretrain(make_cfg(**small))
    told = capsys.readouterr().out
    assert "still rises when the run ends: `scheduler.warmup_epochs` is 2, `max_epochs` 1." in told
    assert re.search(r"Active outputs: .*; `method_kwargs\.threshold_rate` holds it", told)


@pytest.mark.parametrize(
    ("scheduler", "line"),
    [
        (
            {"name": "step", "lr_decay_steps": [1], "interval": "epoch"},
            "`scheduler.warmup_epochs` and `scheduler.interval` are not read with "
            "`scheduler.name: step`.",
        ),
        ({"name": "none"}, "`scheduler.warmup_epochs` is not read with `scheduler.name: none`."),
        ({"name": "warmup_cosine", "warmup_epochs": 1, "interval": "epoch"}, None),
    ],
)
def test_settings_that_the_schedule_does_not_read_are_said(
    make_cfg: Make,
    capsys: pytest.CaptureFixture,
    scheduler: dict[str, Any],
    line: str | None,
) -> None:
    pretrain(make_cfg(scheduler=scheduler, fast_dev_run=True))
    told = capsys.readouterr().out.splitlines()
    assert line in told if line else not any("not read" in one for one in told)
