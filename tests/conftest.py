# SPDX-License-Identifier: MIT
"""What the tests share: small configurations, and tables that are put back."""

import json
import os
import pickle
import re
import shutil
import socket
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import DictConfig, OmegaConf

ROOT = Path(__file__).resolve().parents[1]

# The tests run side by side: a thread pool only gets in the way.
torch.set_num_threads(1)

# With BatchNorm, and small: a run with timm's own widths takes three times as long, without the
# time to write its checkpoints of 40 MB through to the disk.
BACKBONE = {
    "name": "timm/resnet10t",
    "kwargs": {"channels": [8, 8, 16, 32], "stem_width": 8, "replace_stem_pool": False},
}
_OFF = {"prob": 0.0}
_AUGMENTATION = {
    "rrc": {"enabled": True, "crop_min_scale": 0.5, "crop_max_scale": 1.0},
    "color_jitter": {
        "prob": 0.5,
        "brightness": 0.4,
        "contrast": 0.4,
        "saturation": 0.2,
        "hue": 0.1,
    },
    "grayscale": _OFF,
    "gaussian_blur": _OFF,
    "solarization": _OFF,
    "equalization": _OFF,
    "horizontal_flip": _OFF,
    "crop_size": 32,
    "num_crops": 2,
}


@pytest.fixture(scope="session")
def root() -> Path:
    """Return the repository's root."""
    return ROOT


@pytest.fixture(scope="session")
def augmentation() -> Callable[..., dict[str, Any]]:
    """Return a function that makes an entry of `augmentations`."""
    return lambda **changes: {**_AUGMENTATION, **changes}


@pytest.fixture(scope="session")
def cfg_below() -> Callable[..., DictConfig]:
    """Return a function that makes a small run on the digits which leaves all below a folder."""

    def make(folder: Path, method: str = "rectified_lpjepa", **changes: Any) -> DictConfig:
        cfg = OmegaConf.create(
            {
                "name": "test",
                "method": method,
                "backbone": changes.pop("backbone", BACKBONE),
                "method_kwargs": {"proj_hidden_dim": 32, "proj_output_dim": 16},
                "data": {"dataset": "digits", "num_workers": 0},
                "augmentations": [_AUGMENTATION],
                "optimizer": {"name": "sgd", "batch_size": 16, "lr": 0.1, "weight_decay": 1e-4},
                "scheduler": {"name": "warmup_cosine", "warmup_epochs": 1},
                "checkpoint": {"enabled": True, "dir": str(folder / "runs")},
                "accelerator": "cpu",
                "max_epochs": 2,
                "limit_train_batches": 3,
                "limit_val_batches": 2,
                "num_sanity_val_steps": 0,
                "log_every_n_steps": 1,
                "enable_progress_bar": False,
                "enable_model_summary": False,
            }
        )
        if method == "rectified_lpjepa":
            cfg.method_kwargs.update({"num_projections": 64, "logging_interval": 1})
        for key, value in changes.items():
            OmegaConf.update(cfg, key.replace("__", "."), value, force_add=True)
        return cfg

    return make


@pytest.fixture
def make_cfg(cfg_below: Callable[..., DictConfig], tmp_path: Path) -> Callable[..., DictConfig]:
    """Return a function that makes a small run on the digits, with changes by dotted key."""
    return partial(cfg_below, tmp_path)


@contextmanager
def _registered() -> Iterator[dict[str, type]]:
    from solo_plugins import register
    from solo_plugins.framework import METHODS

    before = dict(METHODS)
    register()
    try:
        yield METHODS
    finally:
        METHODS.clear()
        METHODS.update(before)


@pytest.fixture(scope="session")
def registered() -> Callable:
    """Return a context in which the plugin is registered, for fixtures of a session."""
    return _registered


@pytest.fixture
def methods() -> Iterator[dict[str, type]]:
    """Yield solo-learn's table with the plugin registered, and put the table back."""
    with _registered() as table:
        yield table


@pytest.fixture(scope="session")
def run_below(cfg_below: Callable[..., DictConfig], augmentation: Callable) -> Callable[..., Path]:
    """Return a function that leaves a run's folder as ``main_pretrain.py`` does, below a folder."""

    def make(
        folder: Path, method: str = "rectified_lpjepa", name: str = "run", **changes: Any
    ) -> Path:
        from solo_plugins.args.pretrain import parse_cfg

        changes = {"backbone": BACKBONE, "augmentations": [augmentation(crop_size=16)], **changes}
        run = folder / "runs" / method / name
        run.mkdir(parents=True)
        with _registered() as table:
            cfg, _ = parse_cfg(cfg_below(folder, method, **changes))
            torch.manual_seed(0)
            model = table[cfg.method](cfg.copy())
        torch.save({"state_dict": model.state_dict()}, run / "last.ckpt")
        OmegaConf.save(cfg, run / "config.yaml")
        return run

    return make


@pytest.fixture
def make_run(run_below: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    """Return a function that leaves a run's folder as ``main_pretrain.py`` does."""
    return partial(run_below, tmp_path)


# Triton's, at the end of forked processes on Python 3.13.
_NANOBINDS = re.compile(r"^nanobind: leaked .*?refleaks\.html\n?", re.DOTALL | re.MULTILINE)


class Program:
    """A program that tests/programs.py has forked: ``python`` with these arguments, but sooner."""

    def __init__(self, arguments: Sequence[str], cwd: Path, env: dict[str, str]) -> None:
        self.arguments = arguments
        self._outputs = [TemporaryFile() for _ in range(2)]  # noqa: SIM115  # closed by wait
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._server.connect(os.environ["SOLO_PLUGINS_PROGRAMS"])
        job = {"arguments": arguments, "cwd": str(cwd), "env": {**os.environ, **env}}
        message = json.dumps(job).encode()
        socket.send_fds(self._server, [message], [file.fileno() for file in self._outputs])
        self.pid = int(self._server.recv(64))

    def wait(self, timeout: float = 300) -> subprocess.CompletedProcess:
        """Return status and outputs; a program that takes longer is killed, with a TimeoutError."""
        self._server.settimeout(timeout)
        with self._server:
            status = int(self._server.recv(64))
        texts = []
        for file in self._outputs:
            with file:
                file.seek(0)
                texts.append(_NANOBINDS.sub("", file.read().decode()))
        return subprocess.CompletedProcess(self.arguments, status, *texts)

    def close(self) -> None:
        """Hang up, which kills the program if it still runs."""
        self._server.close()


@pytest.fixture(scope="session")
def start_program() -> Iterator[Callable[..., Program]]:
    """Yield a function that lets a forked process do what ``python`` does with arguments."""
    started: list[Program] = []

    def start(*args: str, cwd: Path = ROOT, **env: str) -> Program:
        started.append(Program(args, cwd, {"HYDRA_FULL_ERROR": "1", **env}))
        return started[-1]

    yield start
    for program in started:
        program.close()


@pytest.fixture(scope="session")
def run_program(start_program: Callable) -> Callable[..., subprocess.CompletedProcess]:
    """Return a function that runs a program in a forked process, and waits for its end."""
    return lambda *args, **options: start_program(*args, **options).wait()


@pytest.fixture(scope="session")
def start_ranks(start_program: Callable) -> Callable[..., list[Program]]:
    """Return a function that starts a program as ranks 0 and 1, as a cluster's own start does.

    Lightning's own start of the second one is a new process, which takes ten seconds to import.
    """

    def start(*args: str, **env: str) -> list[Program]:
        with socket.socket() as free:
            free.bind(("localhost", 0))
            place = {"MASTER_ADDR": "localhost", "MASTER_PORT": str(free.getsockname()[1])}
        return [start_program(*args, LOCAL_RANK=rank, **place, **env) for rank in "01"]

    return start


@pytest.fixture
def run_main() -> Callable[..., subprocess.CompletedProcess]:
    """Return a function that runs a program of the repository as a user would.

    It takes some ten seconds to import; tests of anything but the start have ``run_program``.
    """

    def run(*args: str, cwd: Path = ROOT, **env: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, *args],
            cwd=cwd,
            env={**os.environ, "HYDRA_FULL_ERROR": "1", **env},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def gloo(
    root: Path, tmp_path_factory: pytest.TempPathFactory, run_program: Callable
) -> Callable[..., list[Any]]:
    """Return a function that runs a test file's function in processes, and lists their results.

    It takes a function of a module, plain arguments for it and `world_size`. The results are those
    of rank 0, 1, ...; a process that fails fails the test, with its traceback.
    """

    def run(function: Callable[..., Any], *arguments: Any, world_size: int = 2) -> list[Any]:
        folder = tmp_path_factory.mktemp("gloo")
        file, name = function.__code__.co_filename, function.__name__
        job = {"file": file, "function": name, "arguments": arguments, "world_size": world_size}
        (folder / "job.pickle").write_bytes(pickle.dumps(job))
        done = run_program("-W", "ignore", str(root / "tests" / "gloo.py"), str(folder))
        assert done.returncode == 0, done.stderr
        ranks = (folder / f"{rank}.pickle" for rank in range(world_size))
        return [pickle.loads(rank.read_bytes()) for rank in ranks]

    return run


@pytest.fixture(scope="module")
def new_browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Yield the context of a browser that has never been used; without one the test is skipped."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="needs playwright, of the extra dev"
    )
    paths = map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))
    path = next(filter(None, paths), None)
    if path is None:
        pytest.skip("needs a browser: apt-get install --no-install-recommends chromium")
    flags = [
        *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    ]
    with playwright.sync_playwright() as play:
        context = play.chromium.launch_persistent_context(
            tmp_path_factory.mktemp("profile"), executable_path=path, args=flags
        )
        yield context
        context.close()


@pytest.fixture(scope="session")
def scipys_law() -> Callable[[float, float, float], Any]:
    """Return a function that makes scipy's law of p, location and scale, before rectification."""
    from scipy.stats import gennorm

    # scipy's density is exp(-|x|^p): its scale carries our p^(1/p)
    return lambda p, loc, scale: gennorm(p, loc=loc, scale=p ** (1 / p) * scale)


@pytest.fixture(scope="session")
def by_numpy() -> Callable[[np.ndarray], dict[str, float]]:
    """Return a function that computes the diagnostics of outputs (N, D) by their definitions."""
    from scipy.stats import entropy

    def describe(z: np.ndarray) -> dict[str, float]:
        z = z.astype(float)
        rows = z[(z != 0).any(axis=1)]
        sigma = np.linalg.svd(z - z.mean(axis=0), compute_uv=False)
        return {
            "l0": np.mean(z != 0),
            "l1": np.mean((np.abs(rows).sum(1) / np.linalg.norm(rows, axis=1)) ** 2) / z.shape[1],
            "dead_outputs": np.mean((z == 0).all(axis=0)),
            "always_on_outputs": np.mean((z != 0).all(axis=0)),
            "all_zero_rows": np.mean((z == 0).all(axis=1)),
            # a dead output, or a wide sample's mean, leaves a singular value of rounding errors
            "effective_rank": np.exp(entropy(sigma[sigma > 1e-9 * sigma[0]])),
        }

    return describe


@pytest.fixture(scope="session")
def put_instead() -> Callable[[str, Path], None]:
    """Return a function that puts what is no file, or none that can be read, in a file's place."""

    def sparse(path: Path) -> None:
        with path.open("wb") as file:
            file.truncate(2**40)  # of which the disk holds nothing

    kinds: dict[str, Callable[[Path], Any]] = {
        "pipe": os.mkfifo,
        "folder": os.mkdir,
        "loop": lambda path: path.symlink_to(path.name),
        "dangling": lambda path: path.symlink_to("/nowhere/x"),
        "device": lambda path: path.symlink_to("/dev/zero"),
        "terabyte": sparse,
    }

    def put(kind: str, path: Path) -> None:
        path.unlink(missing_ok=True)
        kinds[kind](path)

    return put


@pytest.fixture(scope="session")
def killed_after() -> Callable[[int], Any]:
    """Return a function that makes a callback which kills a run after so many of its steps."""
    from lightning.pytorch import Callback

    class Kill(Callback):
        def __init__(self, steps: int) -> None:
            self.steps = steps

        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            if trainer.global_step == self.steps:
                raise RuntimeError("killed")

    return Kill


@pytest.fixture(scope="session")
def digit_pixels() -> tuple[tuple[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
    """Return pixels and labels of 1,200 digits, and of the other 597."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    features, targets = torch.tensor(images).float(), torch.tensor(labels)
    return (features[:1200], targets[:1200]), (features[1200:], targets[1200:])


@pytest.fixture(scope="session")
def scikit_learns_knn(digit_pixels: tuple) -> Callable[[int, float | None, str], float]:
    """Return a function of k, temperature and distance: the accuracy on ``digit_pixels``."""
    from sklearn.neighbors import KNeighborsClassifier

    def accuracy(k: int, temperature: float | None, distance: str) -> float:
        def weights(distances: np.ndarray) -> np.ndarray:
            if temperature is None:
                return 1 / (distances + 1e-5)
            return np.exp((1 - distances) / temperature)

        (train, labels), (test, targets) = digit_pixels
        judge = KNeighborsClassifier(k, metric=distance, weights=weights, algorithm="brute")
        judge.fit(train.double().numpy(), labels.numpy())
        return 100 * judge.score(test.double().numpy(), targets.numpy())

    return accuracy


def _write_downloaded(name: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write a data set of 32 random images in torchvision's own format, without its checksums."""
    from torchvision.datasets import CIFAR10, CIFAR100, STL10

    kind = {"cifar10": CIFAR10, "cifar100": CIFAR100, "stl10": STL10}[name]
    rng = np.random.default_rng(0)
    folder = root / kind.base_folder
    folder.mkdir(parents=True)
    for attribute in ("train_list", "test_list"):
        files = [[file, None] for file, _ in getattr(kind, attribute)]
        monkeypatch.setattr(kind, attribute, files)
    if name == "stl10":
        for split in ("train", "test", "unlabeled"):
            rng.integers(0, 256, (32, 3, 96, 96), dtype=np.uint8).tofile(folder / f"{split}_X.bin")
            (np.arange(32, dtype=np.uint8) % 10 + 1).tofile(folder / f"{split}_y.bin")
        (folder / "class_names.txt").write_text("\n".join("abcdefghij"))
        (folder / "fold_indices.txt").write_text("0")
        return
    labels = {"cifar10": "labels", "cifar100": "fine_labels"}[name]
    meta = {kind.meta["key"]: [str(i) for i in range(100)]}
    entry = {
        "data": rng.integers(0, 256, (32, 3072), dtype=np.uint8),
        labels: list(range(10)) * 3 + [0, 1],
    }
    for file, _ in kind.train_list + kind.test_list:
        (folder / file).write_bytes(pickle.dumps(entry))
    (folder / kind.meta["filename"]).write_bytes(pickle.dumps(meta))
    monkeypatch.setattr(kind, "meta", {**kind.meta, "md5": None})


@pytest.fixture
def downloaded(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Path], None]:
    """Return a function that writes a data set of torchvision's, by its name, into a folder."""
    return lambda name, root: _write_downloaded(name, root, monkeypatch)


@pytest.fixture
def lightning_quiet() -> Iterator[None]:
    """Let Lightning's and torch's advice about speed pass, in runs that are meant to be small."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
