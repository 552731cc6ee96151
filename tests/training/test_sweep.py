# SPDX-License-Identifier: MIT
"""Sweeps: every run in its own folder, failures told at the end, nothing written elsewhere."""

import json
import runpy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize
from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from solo_plugins.training.pretrain import pretrain
from solo_plugins.training.sweep import sweeping

Make = Callable[..., DictConfig]
MU = "++method_kwargs.mean_shift_value"


@pytest.fixture
def command(make_cfg: Make, root: Path, tmp_path: Path) -> Callable[..., list[str]]:
    """Return a function that makes the command line of a sweep of tiny runs."""

    def make(*overrides: str) -> list[str]:
        blocks = {"defaults": [{"shared@_global_": ["run"]}, "_self_"]}
        tiny = {"max_epochs": 1, "limit_train_batches": 2, "auto_resume__enabled": True}
        cfg = OmegaConf.merge(blocks, make_cfg(checkpoint__dir="trained_models", **tiny))
        # The shared block asks for a GPU.
        cfg.update({"devices": 1, "precision": "32-true", "knn_eval": {"enabled": False}})
        cfg.backbone.kwargs.channels = [8, 8, 8, 8]
        (tmp_path / "yaml").mkdir(exist_ok=True)
        (tmp_path / "work").mkdir(exist_ok=True)
        OmegaConf.save(cfg, tmp_path / "yaml" / "tiny.yaml")
        where = ["--config-path", str(tmp_path / "yaml"), "--config-name", "tiny"]
        quiet = ["hydra/hydra_logging=disabled", "hydra/job_logging=disabled"]
        return [str(root / "main_pretrain.py"), "-m", *where, *quiet, *overrides]

    return make


@pytest.fixture
def sweep(
    command: Callable, methods: dict, lightning_quiet: None, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., str]:
    """Return a function that runs a sweep in this process; it gives the text of a SystemExit."""

    def start(*overrides: str) -> str:
        argv = command(*overrides)
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", argv)
            patch.chdir(Path(argv[argv.index("--config-path") + 1]).parent / "work")
            try:
                runpy.run_path(argv[0], run_name="__main__")
            except SystemExit as error:
                if not isinstance(error.code, str):  # a text is printed, with status 1
                    raise
                return error.code
        return ""

    return start


def _runs(tmp_path: Path) -> dict[float, Path]:
    """Return the finished runs by the mu that they were given."""
    folders = (tmp_path / "work" / "trained_models" / "rectified_lpjepa").iterdir()
    configs = {folder: OmegaConf.load(folder / "config.yaml") for folder in folders}
    return {cfg.method_kwargs.mean_shift_value: folder for folder, cfg in configs.items()}


def test_a_failed_run_is_told_and_takes_no_other_along(
    sweep: Callable, make_cfg: Make, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    reason = "Expected `method_kwargs.mean_shift_value` to be finite but got 'abc'."
    failed = sweep(f"{MU}=-1.0,abc,0.5")
    assert failed == f"Sweep: 3 runs, 1 failed:\n  run 2 ({MU}=abc): {reason}"
    assert f"error: run 2 ({MU}=abc): {reason}\n" in capsys.readouterr().out
    runs = _runs(tmp_path)
    assert set(runs) == {-1.0, 0.5}
    assert all((folder / "summary.json").is_file() for folder in runs.values())
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["trained_models"]
    # The last run of a sweep is the run that it would be alone, bit for bit.
    tiny: dict[str, Any] = {"max_epochs": 1, "limit_train_batches": 2}
    tiny["backbone__kwargs"] = {"channels": [8, 8, 8, 8]}
    alone = pretrain(make_cfg(**tiny, method_kwargs__mean_shift_value=0.5))
    wanted, got = (
        torch.load(path, weights_only=True)["state_dict"]
        for path in (alone.checkpoint, runs[0.5] / "last.ckpt")
    )
    assert all(torch.equal(value, got[name]) for name, value in wanted.items())


def test_a_repeated_sweep_does_the_missing_runs_only(
    sweep: Callable, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert not sweep(f"{MU}=-1.0")
    assert "nothing to do" not in capsys.readouterr().out
    assert not sweep(f"{MU}=-1.0,1.0")
    printed = capsys.readouterr().out
    assert printed.count("nothing to do") == 1
    assert "Sweep: 2 runs, 0 failed." in printed
    assert set(_runs(tmp_path)) == {-1.0, 1.0}
    assert len(list((tmp_path / "work" / "trained_models" / "rectified_lpjepa").iterdir())) == 2


def test_errors_of_any_kind_are_told(
    sweep: Callable, methods: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = methods["rectified_lpjepa"]
    make_step = kind.training_step

    def step(self: Any, *batch: Any) -> dict[str, Any]:
        if self.settings.mean_shift_value == -1.0:
            raise RuntimeError("out of memory")
        found = make_step(self, *batch)
        return {**found, "loss": found["loss"] * float("nan")}

    monkeypatch.setattr(kind, "training_step", step)
    head, first, second = sweep(f"{MU}=-1.0,1.0").splitlines()
    assert head == "Sweep: 2 runs, 2 failed:"
    assert first == f"  run 1 ({MU}=-1.0): RuntimeError: out of memory"
    assert second.startswith(f"  run 2 ({MU}=1.0): Expected every term of the loss to be finite")


@pytest.mark.parametrize("values", ["", "range(0,0)"])
def test_an_empty_sweep_is_one_line(values: str, sweep: Callable, tmp_path: Path) -> None:
    assert sweep(f"{MU}={values}") == (
        f"error: Expected the sweep over `{MU}` to have at least one value, as in `{MU}=1,2`, "
        f"but got `{MU}={values}`."
    )
    assert not list((tmp_path / "work").iterdir())


def test_a_sweep_for_slurm_where_there_is_none_is_one_line(
    sweep: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    said = sweep(f"{MU}=0.5,1", "hydra/launcher=submitit_slurm")
    assert said.startswith("error: Expected `hydra/launcher=submitit_slurm` on a machine that has")
    assert not list((tmp_path / "work").iterdir())


@pytest.mark.torture  # its jobs import everything anew: half a minute
def test_submitit_runs_jobs_side_by_side(
    command: Callable, run_program: Callable, tmp_path: Path
) -> None:
    argv = command(f"{MU}=abc,0.5", "hydra/launcher=submitit_local")
    done = run_program("-W", "ignore", *argv, cwd=tmp_path / "work")
    assert done.returncode == 1
    assert f"Sweep: 2 runs, 1 failed:\n  run 1 ({MU}=abc): Expected" in done.stderr
    assert set(_runs(tmp_path)) == {0.5}
    outcomes = (tmp_path / "work" / "trained_models" / "sweeps").glob("*/*/outcome.json")
    errors = [json.loads(path.read_text())["error"] for path in outcomes]
    assert sorted(error is None for error in errors) == [False, True]
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["trained_models"]


@pytest.fixture
def in_a_job() -> Iterator[Callable[[RunMode], None]]:
    """Return a function that lets this process be a job of hydra's in a mode."""
    before = Singleton.get_state()

    def enter(mode: RunMode) -> None:
        with initialize(None, version_base="1.2"):
            cfg = compose(return_hydra_config=True)
        with open_dict(cfg):
            cfg.hydra.mode = mode
        HydraConfig.instance().set_config(cfg)

    yield enter
    Singleton.set_state(before)


@pytest.mark.parametrize("mode", [None, RunMode.RUN, RunMode.MULTIRUN], ids=str)
def test_a_job_of_a_multirun_is_swept(mode: RunMode | None, in_a_job: Callable) -> None:
    if mode is not None:
        in_a_job(mode)
    assert sweeping() is (mode == RunMode.MULTIRUN)
