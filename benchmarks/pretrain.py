# SPDX-License-Identifier: MIT
"""Images per second in pretraining, and where a step's time goes.

    python benchmarks/pretrain.py [--methods rectified_lpjepa vicreg] [--directions random]

Methods of equal widths train on the same images in turn, several rounds in one run, by
`main_pretrain.py`'s own path; times are medians over the steps of all rounds. The split is measured
in rounds of its own, in which the program waits for the device at each border, and is in
milliseconds a step, medians of the rounds: `data` is the wait for a batch, `batch` all else,
`regulariser` the part of `forward` that is the method's RDMReg, `other` what callbacks, logs and
the loop take. `batch_ratio` is `batch` over that of the last method in the same round. Without
`--data` the images are scikit-learn's digits, enlarged; with it, CIFAR-100 in that folder.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections import defaultdict
from typing import Any

import torch
from lightning.pytorch import Callback
from lightning.pytorch.profilers import Profiler
from omegaconf import DictConfig, OmegaConf
from typing_extensions import override

from solo_plugins import RDMReg, register
from solo_plugins.training.pretrain import pretrain

# What Lightning calls the parts of a step; the optimizer's contains forward and backward.
_PARTS = {
    "train_dataloader_next": "data",
    "run_training_batch": "batch",
    ".training_step": "forward",
    ".backward": "backward",
    ".optimizer_step": "optimizer",
}
COLUMNS = ("data", "batch", "forward", "regulariser", "backward", "optimizer", "other")
_OPERATIONS = {
    "rrc": {"enabled": True, "crop_min_scale": 0.2, "crop_max_scale": 1.0},
    "color_jitter": {
        "prob": 0.8,
        "brightness": 0.4,
        "contrast": 0.4,
        "saturation": 0.2,
        "hue": 0.1,
    },
    "grayscale": {"prob": 0.2},
    "gaussian_blur": {"prob": 0.0},
    "solarization": {"prob": 0.1},
    "equalization": {"prob": 0.0},
    "horizontal_flip": {"prob": 0.5},
}


class Clock(Callback):
    """Takes the seconds of each step, from one batch's start to the next one's."""

    def __init__(self, skip: int) -> None:
        self.skip, self.seconds = skip, []
        self._started: float | None = None

    @override
    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        _synchronize()
        now = time.perf_counter()
        if self._started is not None and batch_idx and trainer.global_step > self.skip:
            self.seconds.append(now - self._started)
        self._started = now


class Split(Profiler):
    """Adds up the seconds of a step's parts."""

    def __init__(self, skip: int) -> None:
        super().__init__()
        self.skip, self.seconds = skip, defaultdict(list)
        self._started: dict[str, float] = {}

    @override
    def start(self, action_name: str) -> None:
        if _part(action_name):
            _synchronize()
            self._started[action_name] = time.perf_counter()

    @override
    def stop(self, action_name: str) -> None:
        if action_name in self._started:
            _synchronize()
            spent = time.perf_counter() - self._started.pop(action_name)
            self.seconds[_part(action_name)].append(spent)

    @override
    def setup(self, stage: str, **kwargs: Any) -> None:
        super().setup(stage=stage, **kwargs)
        module = self._lightning_module
        if module is None:
            return
        for part in module.modules():
            if isinstance(part, RDMReg):
                part.register_forward_pre_hook(lambda *_: self.start("regulariser"))
                part.register_forward_hook(lambda *_: self.stop("regulariser"))

    def milliseconds(self) -> dict[str, float]:
        """Return the median of each part."""
        found = {
            name: 1e3 * statistics.median(seconds[self.skip :] or [0.0])
            for name, seconds in self.seconds.items()
        }
        found.setdefault("regulariser", 0.0)
        found["optimizer"] -= found["forward"] + found["backward"]
        parts = (found[name] for name in ("forward", "backward", "optimizer"))
        found["other"] = max(0.0, found["batch"] - sum(parts))
        return found


def main() -> None:
    """Print a table and, as the last line, the figures as JSON."""
    args = _arguments()
    if args.threads:
        torch.set_num_threads(args.threads)
    register()
    load = os.getloadavg()[0]
    seconds: dict[str, list[float]] = defaultdict(list)
    splits: dict[str, list[dict[str, float]]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(args.rounds):
            for method in args.methods:
                clock = Clock(args.skip)
                pretrain(_cfg(method, args, folder), callbacks=[clock])
                seconds[method] += clock.seconds
        for _ in range(args.rounds):
            for method in args.methods:
                split = Split(args.skip)
                pretrain(_cfg(method, args, folder), callbacks=[_Profiled(split)])
                splits[method].append(split.milliseconds())
    split_ms = {
        name: {column: statistics.median(each[column] for each in found) for column in COLUMNS}
        for name, found in splits.items()
    }
    last = splits[args.methods[-1]]
    ratios = {
        name: [each["batch"] / other["batch"] for each, other in zip(found, last, strict=True)]
        for name, found in splits.items()
    }
    result = {
        "images_per_second": {
            name: args.batch / statistics.median(found) for name, found in seconds.items()
        },
        "step_ms": {name: 1e3 * statistics.median(found) for name, found in seconds.items()},
        "batch_ratio": {name: statistics.median(found) for name, found in ratios.items()},
        "batch_ratios": ratios,
        "split_ms": split_ms,
        **{name: getattr(args, name) for name in ("batch", "width", "projections", "directions")},
        "backbone": args.backbone,
        "format": args.format,
        "cuda_graph": args.cuda_graph,
        "device": torch.cuda.get_device_name() if _on_gpu() else "cpu",
        "threads": torch.get_num_threads(),
        "workers": args.workers,
        "load": load,
        "torch": torch.__version__,
    }
    print(f"{'method':<18}{'images/s':>10}{'step ms':>10}" + "".join(f"{c:>13}" for c in COLUMNS))
    for name in args.methods:
        cells = "".join(f"{result['split_ms'][name][column]:>13.1f}" for column in COLUMNS)
        speed, step = result["images_per_second"][name], result["step_ms"][name]
        print(f"{name:<18}{speed:>10.1f}{step:>10.1f}{cells}")
    print(json.dumps(result))


class _Profiled(Callback):
    """Hands the trainer a profiler, which a configuration can only name."""

    def __init__(self, split: Split) -> None:
        self.split = split

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        self.split._lightning_module = pl_module
        self.split.setup(stage=stage)
        trainer.profiler = self.split


def _cfg(method: str, args: argparse.Namespace, folder: str) -> DictConfig:
    settings = {"proj_hidden_dim": args.width, "proj_output_dim": args.width}
    if method == "rectified_lpjepa":
        settings |= {
            "num_projections": args.projections,
            "projection_vectors_type": args.directions,
            "cuda_graph": args.cuda_graph,
        }
    data = {"dataset": "digits", "num_workers": args.workers, "format": args.format}
    if args.data:
        data |= {"dataset": "cifar100", "train_path": args.data, "val_path": args.data}
    steps = args.steps + args.skip
    return OmegaConf.create(
        {
            "name": method,
            "method": method,
            "backbone": _backbone(args.backbone),
            "method_kwargs": settings,
            "data": data,
            "augmentations": [{**_OPERATIONS, "crop_size": args.crop, "num_crops": 2}],
            "optimizer": {"name": "adamw", "batch_size": args.batch, "lr": 2e-3}
            | {"weight_decay": 1e-4},
            "scheduler": {"name": "warmup_cosine", "warmup_epochs": 1},
            "checkpoint": {"dir": folder},
            "accelerator": "auto",
            "precision": args.precision,
            "performance": {"compile": args.compile},
            "max_epochs": 1000,
            "max_steps": steps,
            "limit_val_batches": 0,
            "num_sanity_val_steps": 0,
            "enable_progress_bar": False,
            "enable_model_summary": False,
        }
    )


def _backbone(name: str) -> dict[str, Any]:
    if name == "small":  # that of docs/results.md
        kwargs = {"channels": [16, 32, 64, 128], "stem_width": 16, "stem_type": ""}
        return {"name": "timm/resnet10t", "kwargs": kwargs}
    return {"name": name}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", nargs="+", default=["rectified_lpjepa", "vicreg"])
    parser.add_argument("--backbone", default="small", help="small, or solo-learn's name of one")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--projections", type=int, default=8192)
    parser.add_argument("--directions", default="random")
    parser.add_argument("--cuda-graph", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--crop", type=int, default=32)
    parser.add_argument("--data", help="a folder with CIFAR-100")
    parser.add_argument("--format", default="image_folder", help="dali: NVIDIA DALI augments")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--precision", default="32-true")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=12, help="of each method in each round")
    parser.add_argument("--skip", type=int, default=3, help="steps before these, to warm up")
    parser.add_argument("--threads", type=int, help="torch's own number by default")
    return parser.parse_args()


def _part(action: str) -> str | None:
    if action == "regulariser":
        return action
    return next((part for end, part in _PARTS.items() if action.endswith(end)), None)


def _on_gpu() -> bool:
    return torch.cuda.is_available()


def _synchronize() -> None:
    if _on_gpu():
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
