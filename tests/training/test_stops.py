# SPDX-License-Identifier: MIT
"""Runs that are stopped: by signals, limits, SLURM and kills; and what goes on from there."""

import csv
import inspect
import json
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from omegaconf import DictConfig, OmegaConf

from solo_plugins.data import Digits
from solo_plugins.data.loader import EpochSeededLoader
from solo_plugins.errors import ConfigurationError
from solo_plugins.report.read import Incomplete, read_run
from solo_plugins.runs.folder import RunFolder
from solo_plugins.training.pretrain import pretrain
from solo_plugins.training.signals import Interrupted, Signals

Make = Callable[..., DictConfig]
pytestmark = pytest.mark.usefixtures("methods", "lightning_quiet")

_SMALL = {"proj_hidden_dim": 16, "proj_output_dim": 8}
_RESUMED = {"auto_resume__enabled": True, "limit_val_batches": 0}


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "last.ckpt", weights_only=True)["state_dict"]


def _state(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "state.json").read_text())


def _log(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def _logged_rates(folder: Path) -> list[tuple[int, float]]:
    """Read the steps and learning rates that were logged, which is once a step."""
    rows = _log(folder)
    rate = next(name for name in rows[0] if name.startswith("lr-"))
    return [(int(row["step"]), float(row[rate])) for row in rows if row[rate]]


def _optimizer(folder: Path) -> dict[str, Any]:
    (state,) = torch.load(folder / "last.ckpt", weights_only=True)["optimizer_states"]
    return state


def _steps(folder: Path) -> list[int]:
    return [step for step, _ in _logged_rates(folder)]


def _rates(folder: Path) -> list[float]:
    return [rate for _, rate in _logged_rates(folder)]


class _Signal(Callback):
    """Sends this process a signal at the end of a step, or in the validation after it."""

    def __init__(
        self, step: int, number: int = signal.SIGTERM, *, validation: bool = False
    ) -> None:
        self.step, self.number, self.validation = step, number, validation

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        if trainer.global_step == self.step and not self.validation:
            os.kill(os.getpid(), self.number)

    def on_validation_batch_end(self, trainer: Any, *_: Any) -> None:
        if trainer.global_step == self.step and self.validation:
            os.kill(os.getpid(), self.number)


def _stop(cfg: DictConfig, stop: _Signal) -> int:
    with pytest.raises(SystemExit) as stopped:
        pretrain(cfg, callbacks=[stop])
    return int(stopped.value.code or 0)


_QUEUE = {"queue_size": 64, "num_prototypes": 16, "temperature": 0.1, "epoch_queue_starts": 0}
_LPJEPA = ("rectified_lpjepa", {**_SMALL, "num_projections": 64})
_BYOL = ("byol", {**_SMALL, "pred_hidden_dim": 8})
_SWAV = ("swav", {**_SMALL, **_QUEUE})
_DINO = ("dino", {**_SMALL, "num_prototypes": 16, "warmup_teacher_temperature_epochs": 2})


@pytest.mark.parametrize(
    ("method", "stop", "workers"),
    [
        pytest.param(_LPJEPA, _Signal(4), (0, 0), marks=pytest.mark.torture),
        (_LPJEPA, _Signal(5), (0, 2)),
        (_LPJEPA, _Signal(3), (2, 0)),
        (_LPJEPA, _Signal(6, validation=True), (0, 0)),
        (_SWAV, _Signal(4), (0, 0)),
        (_BYOL, _Signal(4), (0, 0)),
        (_DINO, _Signal(5), (0, 0)),
    ],
    ids=["mid", "workers", "epoch", "validation", "queue", "momentum", "temperature"],
)
def test_a_signal_stops_between_two_steps_and_the_run_goes_on_exactly(
    method: tuple[str, dict],
    stop: _Signal,
    workers: tuple[int, int],
    make_cfg: Make,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    def cfg(folder: str, num_workers: int) -> DictConfig:
        own = {"checkpoint__dir": str(tmp_path / folder), "data__num_workers": num_workers}
        own |= {"auto_resume__enabled": True, "knn_eval": {"enabled": True, "k": 3}}
        return make_cfg(method[0], method_kwargs=method[1], **own)

    whole = pretrain(cfg("whole", workers[0]))
    assert _stop(cfg("stopped", workers[0]), stop) == 128 + signal.SIGTERM
    (folder,) = (tmp_path / "stopped" / method[0]).iterdir()
    state = _state(folder)
    done = (stop.step - 1) // 3  # an epoch is done when it has been validated
    assert (state["status"], state["steps"], state["epochs"]) == ("interrupted", stop.step, done)
    capsys.readouterr()
    assert pretrain(cfg("stopped", workers[1])).folder == folder
    lines = re.findall(r"^epoch (\d+)/(\d+) .* s\b", capsys.readouterr().out, re.MULTILINE)
    assert [(int(epoch), int(last)) for epoch, last in lines] == [
        (epoch, int(lines[0][1])) for epoch in range(done + 1, int(lines[0][1]) + 1)
    ]
    wanted, got = _weights(whole.folder), _weights(folder)
    assert all(torch.equal(value, got[name]) for name, value in wanted.items())
    assert _log(folder) == _log(whole.folder)  # means of epochs and the online kNN among them
    assert _state(folder)["status"] == "finished"


@pytest.mark.parametrize(
    "stop",
    [
        _Signal(2, validation=True),
        _Signal(8, validation=True),
        *(
            pytest.param(stop, marks=pytest.mark.torture)
            for stop in (
                _Signal(2),
                _Signal(3),
                _Signal(4, validation=True),
                _Signal(6, validation=True),
            )
        ),
    ],
    ids=lambda stop: f"{stop.step}{'-validation' if stop.validation else ''}",
)
def test_a_run_with_validations_within_epochs_goes_on_exactly(
    stop: _Signal, make_cfg: Make, tmp_path: Path
) -> None:
    def cfg(folder: str) -> DictConfig:
        own = {"checkpoint__dir": str(tmp_path / folder), "auto_resume__enabled": True}
        own |= {"limit_train_batches": 4, "val_check_interval": 2, "limit_val_batches": 2}
        return make_cfg(**own, knn_eval={"enabled": True, "k": 3})

    whole = pretrain(cfg("whole"))
    assert _stop(cfg("stopped"), stop) == 128 + signal.SIGTERM
    resumed = pretrain(cfg("stopped"))
    wanted, got = _weights(whole.folder), _weights(resumed.folder)
    assert all(torch.equal(value, got[name]) for name, value in wanted.items())
    assert _log(resumed.folder) == _log(whole.folder)


@pytest.mark.parametrize(
    ("images", "step"),
    [
        ("memory", 5),
        ("files", 3),
        pytest.param("memory", 3, marks=pytest.mark.torture),
        pytest.param("files", 5, marks=pytest.mark.torture),
    ],
)
def test_a_run_by_dali_goes_on_exactly(
    images: str, step: int, make_cfg: Make, tmp_path: Path, killed_after: Callable
) -> None:
    pytest.importorskip("nvidia.dali")
    data: dict[str, Any] = {"dataset": "digits", "num_workers": 1, "format": "dali"}
    if images == "files":
        data |= {"dataset": "custom", "train_path": str(tmp_path / "images")}
        (tmp_path / "images" / "one").mkdir(parents=True)
        for index in range(48):
            image, _ = Digits(train=False)[index]
            image.save(tmp_path / "images" / "one" / f"{index}.png")

    def cfg(folder: str) -> DictConfig:
        own = {"checkpoint__dir": str(tmp_path / folder), "checkpoint__every_n_steps": 1}
        return make_cfg(data=data, **own, **_RESUMED)

    whole = pretrain(cfg("whole"))
    with pytest.raises(RuntimeError, match="killed"):
        pretrain(cfg("stopped"), callbacks=[killed_after(step)])
    (folder,) = (tmp_path / "stopped" / "rectified_lpjepa").iterdir()
    assert pretrain(cfg("stopped")).folder == folder
    wanted, got = _weights(whole.folder), _weights(folder)
    assert all(torch.equal(value, got[name]) for name, value in wanted.items())
    assert _steps(folder) == list(range(6))


class _Slow(torch.utils.data.Dataset):
    """Gives the number of the process that loads, after a while."""

    def __len__(self) -> int:
        return 40

    def __getitem__(self, index: int) -> int:
        time.sleep(0.01)
        return os.getpid()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP, signal.SIGTERM])
def test_loading_processes_leave_signals_to_the_one_that_trains(number: int) -> None:
    started_with = signal.signal(number, signal.SIG_DFL)
    with Signals() as signals:
        signals.between_steps = True
        batches = iter(EpochSeededLoader(_Slow(), 4, num_workers=2))
        processes = {*next(batches).tolist(), *next(batches).tolist()}
        for _ in range(2):  # a terminal sends Ctrl-C to all processes
            # not from here: SIGTERM of the process that trains ends them
            line = f"kill -{number:d} {' '.join(map(str, processes))}"
            subprocess.run(["sh", "-c", line], check=True)
            time.sleep(0.1)
        assert {*torch.cat(list(batches)).tolist()} == processes
    signal.signal(number, started_with)


def test_a_loading_process_ends_when_the_one_that_trains_says_so() -> None:
    others = multiprocessing.active_children()
    batches = iter(EpochSeededLoader(_Slow(), 4, num_workers=2))
    next(batches)
    workers = [child for child in multiprocessing.active_children() if child not in others]
    for worker in workers:
        worker.terminate()
    for worker in workers:
        worker.join(timeout=20)
    assert [worker.exitcode for worker in workers] == [0, 0]


def test_an_error_leaves_how_far_the_run_has_come(
    make_cfg: Make, killed_after: Callable, tmp_path: Path
) -> None:
    cfg = make_cfg(auto_resume__enabled=True, limit_train_batches=2, limit_val_batches=0)
    with pytest.raises(RuntimeError, match="killed"):
        pretrain(cfg, callbacks=[killed_after(3)])
    (folder,) = (tmp_path / "runs" / "rectified_lpjepa").iterdir()
    assert (_state(folder)["epochs"], _state(folder)["steps"]) == (1, 3)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_every_signal_has_its_status_and_a_line(
    number: int, make_cfg: Make, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    started_with = signal.signal(number, signal.SIG_DFL)  # which nohup and a shell's & change
    before = signal.getsignal(number)
    assert _stop(make_cfg(**_RESUMED, max_epochs=1), _Signal(1, number)) == 128 + number
    assert signal.getsignal(number) == before
    printed = capsys.readouterr().out
    assert f"{signal.Signals(number).name}: stopped after 1 steps. The same command" in printed
    (folder,) = (tmp_path / "runs" / "rectified_lpjepa").iterdir()
    assert not (folder / "summary.json").exists()
    with pytest.raises(Incomplete, match=r"it is interrupted \(Interrupted: SIG"):
        read_run(folder)
    signal.signal(number, started_with)


def test_the_end_of_max_time_is_not_the_end_of_the_run(
    make_cfg: Make, capsys: pytest.CaptureFixture
) -> None:
    settings = {**_RESUMED, "max_epochs": 3}

    class Wait(Callback):
        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            time.sleep(3 * (trainer.global_step == 2))

    result = pretrain(make_cfg(**settings, max_time={"seconds": 2}), callbacks=[Wait()])
    assert re.search(r"Stopped by max_time in epoch 1 of 3, after [12] ", capsys.readouterr().out)
    assert _state(result.folder)["status"] == "stopped"
    assert not (result.folder / "summary.json").exists()
    longer = pretrain(make_cfg(**settings))
    assert longer.folder == result.folder
    assert _steps(longer.folder) == list(range(9))


_FAKE = """#!/bin/sh
echo "$@" >> {out}
"""


@pytest.mark.parametrize(
    ("array", "submitit", "number"),
    [
        (False, {}, signal.SIGUSR1),
        (True, {}, signal.SIGUSR1),
        (True, {"SUBMITIT_EXECUTOR": "slurm"}, signal.SIGUSR2),
        (
            True,
            {"SUBMITIT_EXECUTOR": "slurm", "SUBMITIT_PREEMPT_SIGNAL": "USR1"},
            signal.SIGUSR1,
        ),
    ],
)
def test_slurms_signal_requeues_the_job_and_writes_into_the_runs_folder_alone(
    array: bool,
    submitit: dict[str, str],
    number: int,
    make_cfg: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    for folder in ("bin", "work"):
        (tmp_path / folder).mkdir()
    (tmp_path / "bin" / "scontrol").write_text(_FAKE.format(out=tmp_path / "asked"))
    (tmp_path / "bin" / "scontrol").chmod(0o755)
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    slurm = {"SLURM_JOB_ID": "77", "SLURM_NTASKS": "1", "SLURM_JOB_NAME": "train"}
    slurm |= {"SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0"}
    slurm |= {"SLURM_ARRAY_JOB_ID": "70", "SLURM_ARRAY_TASK_ID": "3"} if array else {}
    for name, value in (slurm | submitit).items():
        monkeypatch.setenv(name, value)
    cfg = make_cfg(**_RESUMED)
    assert _stop(cfg, _Signal(2, number)) == 128 + number
    assert (tmp_path / "asked").read_text() == f"requeue {'70_3' if array else '77'}\n"
    assert list((tmp_path / "work").iterdir()) == []
    (folder,) = (tmp_path / "runs" / "rectified_lpjepa").iterdir()
    # another run of the same job does not begin from it
    other = pretrain(make_cfg(**_RESUMED, seed=6, max_epochs=1))
    assert other.folder != folder
    assert _steps(other.folder) == [0, 1, 2]
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert pretrain(cfg).folder == folder
    assert _steps(folder) == list(range(6))
    assert "SLURM runs job" in capsys.readouterr().out


@pytest.mark.parametrize("damage", ["missing", "empty", "cut"])
def test_a_run_that_was_killed_before_its_summary_gets_one(damage: str, make_cfg: Make) -> None:
    cfg = make_cfg(auto_resume__enabled=True, max_epochs=1)
    first = pretrain(cfg)
    path = first.folder / "summary.json"
    wanted = json.loads(path.read_text())
    if damage == "missing":
        path.unlink()
        state = _state(first.folder)
        (first.folder / "state.json").write_text(json.dumps({**state, "status": "running"}))
    else:
        path.write_text("" if damage == "empty" else path.read_text()[:50])
    again = pretrain(cfg)
    got = json.loads(path.read_text())
    assert again.folder == first.folder
    assert again.metrics == first.metrics
    for facts in (wanted, got):
        facts.pop("seconds")
    assert got == wanted


def test_more_epochs_follow_the_new_schedule(make_cfg: Make, capsys: pytest.CaptureFixture) -> None:
    source = pretrain(make_cfg(**_RESUMED)).folder
    whole = pretrain(make_cfg(**_RESUMED, max_epochs=4)).folder
    again = pretrain(make_cfg(**_RESUMED, max_epochs=4, resume_from_checkpoint=str(source))).folder
    assert again not in (source, whole)
    assert _steps(again) == list(range(6, 12))
    assert _rates(again) == pytest.approx(_rates(whole)[6:], abs=1e-9)
    assert "goes on along a schedule of 4 epochs" in capsys.readouterr().out
    assert _state(source)["status"] == "finished"


def test_a_second_signal_in_a_destructor_prints_nothing() -> None:
    signals = Signals()
    signals.between_steps = True

    class Loader:
        def __del__(self) -> None:
            signals._handle(signal.SIGTERM, inspect.currentframe())

    signals._handle(signal.SIGINT, None)
    Loader()  # pytest makes an error of an exception that Python only prints
    assert signals.received == signal.SIGTERM
    with pytest.raises(Interrupted):
        signals._handle(signal.SIGTERM, inspect.currentframe())


def test_another_runs_checkpoint_in_a_runs_folder_is_refused(make_cfg: Make) -> None:
    folders = []
    for seed in (5, 7):
        assert _stop(make_cfg(**_RESUMED, seed=seed), _Signal(2)) == 128 + signal.SIGTERM
        runs = Path(make_cfg().checkpoint.dir) / "rectified_lpjepa"
        folders += [path for path in runs.iterdir() if path not in folders]
    first, second = folders
    before = (second / "metrics.csv").read_bytes()
    shutil.copy(first / "last.ckpt", second / "last.ckpt")
    message = f"{second.name}/last.ckpt' to be of run .* but it is of run "
    with pytest.raises(ConfigurationError, match=message):
        pretrain(make_cfg(**_RESUMED, seed=7))
    assert (second / "metrics.csv").read_bytes() == before
    begins = make_cfg(**_RESUMED, seed=7, max_epochs=3, resume_from_checkpoint=str(second))
    assert pretrain(begins).folder not in folders


def test_the_best_checkpoint_is_known_again_in_a_folder_that_was_moved(
    make_cfg: Make, tmp_path: Path
) -> None:
    monitored = {"checkpoint__monitor": "epoch", "checkpoint__mode": "min"}  # the first is the best
    settings = {**_RESUMED, **monitored, "max_epochs": 3}
    assert _stop(make_cfg(**settings), _Signal(4)) == 128 + signal.SIGTERM
    (tmp_path / "runs").rename(tmp_path / "moved")
    folder = pretrain(make_cfg(**settings, checkpoint__dir=str(tmp_path / "moved"))).folder
    assert _steps(folder) == list(range(9))
    assert torch.load(folder / "best.ckpt", weights_only=True)["epoch"] == 0


@pytest.mark.parametrize(
    ("changed", "group"),
    [
        ({"lr": 0.02}, {}),
        ({"weight_decay": 0.3}, {"weight_decay": 0.3}),
        pytest.param({"classifier_lr": 0.7}, {}, marks=pytest.mark.torture),
        ({"kwargs": {"momentum": 0.5, "nesterov": True}}, {"momentum": 0.5, "nesterov": True}),
    ],
    ids=lambda changed: ",".join(changed),
)
def test_a_run_that_begins_from_another_goes_on_by_its_own_optimizer(
    changed: dict[str, Any], group: dict[str, Any], make_cfg: Make
) -> None:
    source = pretrain(make_cfg(**_RESUMED)).folder
    settings = {f"optimizer__{name}": value for name, value in changed.items()}
    whole = pretrain(make_cfg(**_RESUMED, max_epochs=4, **settings)).folder
    given = {**_RESUMED, **settings, "resume_from_checkpoint": str(source)}
    again = pretrain(make_cfg(**given, max_epochs=4)).folder
    assert _steps(again) == list(range(6, 12))
    assert _rates(again) == pytest.approx(_rates(whole)[6:], abs=1e-9)
    groups = [_optimizer(folder)["param_groups"] for folder in (again, whole)]
    assert groups[0] == groups[1]
    assert group.items() <= groups[0][0].items()


def test_what_cannot_go_on_from_a_checkpoint_is_refused(make_cfg: Make, tmp_path: Path) -> None:
    source = pretrain(make_cfg(**_RESUMED, max_epochs=2)).folder
    before = sorted(tmp_path.rglob("*"))
    for settings, message in (
        ({"optimizer__name": "adamw"}, "`optimizer.name` to be 'sgd', as that of .* got 'adamw'"),
        ({"max_epochs": 1}, "`max_epochs` to be above 2, which '.*last.ckpt' has done, .* got 1"),
        ({"optimizer__lr": 0.2}, "`max_epochs` to be above 2, which '.*last.ckpt' has .* got 2"),
        ({"max_epochs": 3, "max_steps": 6}, "`max_steps` to be above 6, which .* got 6"),
    ):
        given = {**_RESUMED, "resume_from_checkpoint": str(source), "max_epochs": 2, **settings}
        with pytest.raises(ConfigurationError, match=message):
            pretrain(make_cfg(**given))
        assert sorted(tmp_path.rglob("*")) == before


def test_the_saved_configuration_is_the_same_run(make_cfg: Make) -> None:
    first = pretrain(make_cfg(auto_resume__enabled=True, max_epochs=1))
    saved: Any = OmegaConf.load(first.folder / "config.yaml")
    del saved.defaults
    assert saved.optimizer.lr == 0.1
    assert pretrain(saved).folder == first.folder
    resolved: Any = OmegaConf.load(first.folder / "resolved.yaml")
    with pytest.raises(ConfigurationError, match="num_large_crops"):
        pretrain(resolved)


@pytest.mark.parametrize("name", ["exp/a", "lr={0.1}", "a: b # c?", "../up"])
def test_a_name_may_be_any_text(name: str, make_cfg: Make, tmp_path: Path) -> None:
    cfg = make_cfg(
        name=name, auto_resume__enabled=True, max_epochs=1, checkpoint__keep_prev=True,
        limit_train_batches=1, limit_val_batches=0,
    )  # fmt: skip
    folder = pretrain(cfg).folder
    assert folder.parent == tmp_path / "runs" / "rectified_lpjepa"
    assert len(list(folder.glob("*-ep=0.ckpt"))) == 1
    assert pretrain(cfg).folder == folder


def test_checkpoints_come_after_steps_and_the_best_is_kept(make_cfg: Make) -> None:
    cfg = make_cfg(checkpoint__every_n_steps=2, checkpoint__monitor="val_acc1", max_epochs=3)
    seen = []

    class Look(Callback):
        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            paths = RunFolder(Path(trainer.default_root_dir)).checkpoints()
            saved = [torch.load(path, weights_only=True)["global_step"] for path in paths[:1]]
            seen.append((trainer.global_step, *saved))

    folder = pretrain(cfg, callbacks=[Look()]).folder
    assert seen == [(1,), (2,), (3, 2), (4, 3), (5, 3), (6, 5), (7, 6), (8, 6), (9, 8)]
    found = [float(row["val_acc1"]) for row in _log(folder) if row["val_acc1"]]
    best = torch.load(folder / "best.ckpt", weights_only=True)
    assert best["epoch"] == found.index(max(found))


def test_nothing_passes_through_another_file_system(
    make_cfg: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # Lightning's own checkpoints do: a move from the temporary folder is a copy there
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    cfg = make_cfg(
        max_epochs=1, limit_train_batches=1, limit_val_batches=0, checkpoint__keep_prev=True
    )
    assert len(RunFolder(pretrain(cfg).folder).checkpoints()) == 2  # the last, the epoch's


@pytest.mark.parametrize("settings", [{"fast_dev_run": True}, {"checkpoint__enabled": False}])
def test_no_checkpoint_is_named_that_is_not_there(
    settings: dict, make_cfg: Make, capsys: pytest.CaptureFixture
) -> None:
    result = pretrain(make_cfg(max_epochs=1, **settings))
    assert result.checkpoint is None
    assert "Checkpoint: none\n" in capsys.readouterr().out
    if "fast_dev_run" in settings:
        assert not result.folder.exists()


@pytest.mark.ddp
def test_a_signal_to_one_of_two_processes_stops_both(
    make_cfg: Make, start_ranks: Callable, tmp_path: Path
) -> None:
    settings = {"devices": 2, "strategy": "ddp", "max_epochs": 1000}
    OmegaConf.save(make_cfg(**_RESUMED, **settings), tmp_path / "two.yaml")
    given = ["--config-path", str(tmp_path), "--config-name", "two", "hydra.output_subdir=null"]
    first, second = start_ranks("-W", "ignore", "main_pretrain.py", *given)
    end = time.monotonic() + 120
    while not list(tmp_path.glob("runs/*/*/last.ckpt")) and time.monotonic() < end:
        time.sleep(0.2)
    os.kill(second.pid, signal.SIGTERM)
    done = [rank.wait(timeout=120) for rank in (first, second)]
    assert [rank.returncode for rank in done] == [128 + signal.SIGTERM] * 2, done[0].stderr
    assert [rank.stdout.count("SIGTERM: stopped after") for rank in done] == [1, 0]
