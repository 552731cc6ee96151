# SPDX-License-Identifier: MIT
"""Half an hour on a GPU, in four stages of less than nine minutes each.

    python benchmarks/accelerator.py check|rdmreg|step|train [--out FILE] [--device cuda]

`check`: the method's loss, gradient and outputs in float32, float16 and bfloat16 against float64
on the CPU; a run that is resumed; DALI on the device; two processes where there are two cards;
every method's YAML of the digits. `rdmreg`: benchmarks/rdmreg.py at the paper's sizes. `step`:
benchmarks/pretrain.py, ResNet-18 and the small backbone, torchvision and DALI. `train`: a CIFAR-100
YAML, ResNet-18, for `--minutes`, then kNN and a linear probe.

A stage is made of parts. What a part found is appended to `--out` at once, and a part that stands
there is not run again, so that the same command goes on after a cut. Each stage ends with a table
and a line of JSON. `--toy` makes everything small enough for a CPU.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback
from omegaconf import DictConfig, OmegaConf
from torch import Tensor
from typing_extensions import override

from solo_plugins import OutputDiagnostics, RectifiedLpJEPASettings, register
from solo_plugins.losses import DIRECTIONS, epps_pulley, random_directions
from solo_plugins.methods.rectified_lpjepa.criterion import Criterion
from solo_plugins.training.pretrain import pretrain

HERE = Path(__file__).resolve().parent
# Of the outputs of a network in that precision, relative to the largest: sums over some hundred
# numbers, each rounded to 2^-24, 2^-11 or 2^-8.
PRECISIONS = {
    "float32": (torch.float32, 1e-4),
    "float16": (torch.float16, 2e-2),
    "bfloat16": (torch.bfloat16, 1e-1),
}
Found = Mapping[str, Any]
Part = Callable[[], Found]


def main() -> None:
    """Run a stage's parts, print the table and, as the last line, what was found as JSON."""
    args = _arguments()
    if args.stage == "check":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # for runs that repeat
    register()
    parts = STAGES[args.stage](args)
    known = _read(args.out)
    started = time.monotonic()
    for name, part in parts.items():
        key = f"{args.stage}/{name}"
        if key in known:
            continue
        if time.monotonic() - started > args.limit:
            print(f"{key}: not run, {args.limit} seconds are over; the same command goes on")
            continue
        begun = time.monotonic()
        known[key] = {**part(), "took": round(time.monotonic() - begun, 1)}
        with args.out.open("a") as file:
            file.write(json.dumps({key: known[key]}) + "\n")
    found = {name: known.get(f"{args.stage}/{name}") for name in parts}
    for name, values in found.items():
        print(f"{name:<34} {_cells(values)}")
    device = torch.cuda.get_device_name() if args.device == "cuda" else "cpu"
    print(json.dumps({"stage": args.stage, "device": device, "torch": torch.__version__} | found))


def _cells(values: Found | None) -> str:
    if values is None:
        return "not run"
    return "  ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in values.items()
    )


def _read(path: Path) -> dict[str, Any]:
    lines = path.read_text().splitlines() if path.exists() else []
    return {key: value for line in lines for key, value in json.loads(line).items()}


def check(args: argparse.Namespace) -> dict[str, Part]:
    """List the comparisons with the CPU's float64, and the runs."""
    parts: dict[str, Part] = {}
    for precision in PRECISIONS:
        for directions in DIRECTIONS:
            name = f"loss, {directions}, {precision}"
            rounded = PRECISIONS[precision][0]
            settings = {"directions": directions, "rounded": rounded}
            parts[name] = partial(_compare, _loss, args, precision, **settings)
        for function in (_projector, _diagnostics, _sigreg):
            name = f"{function.__name__[1:]}, {precision}"
            parts[name] = partial(_compare, function, args, precision)
    return parts | {
        "target, drawn on the device": partial(_draws, args),
        "recorded loss": partial(_recorded, args),
        "repeated run": partial(_repeated, args),  # first: Lightning leaves torch deterministic
        "resumed run": partial(_resumed, args),
        "DALI": partial(_dali, args),
        "two processes": partial(_two_processes, args),
        "every method": partial(_every_method, args),
    }


def rdmreg(args: argparse.Namespace) -> dict[str, Part]:
    """List the runs of benchmarks/rdmreg.py."""
    sizes = [(32, 16, 64)] if args.toy else [(256, 512, 8192), (128, 2048, 8192)]
    repeats = 2 if args.toy else 9
    parts: dict[str, Part] = {}
    for kind in _kinds():
        for batch, dim, projections in sizes:
            command = f"rdmreg.py --device {args.device} --batch {batch} --dim {dim}"
            command += f" --projections {projections} --repeats {repeats} --directions {kind}"
            names = ("speedup", "floor_ratio", "memory_ratio", "seconds", "peak_extra_mb")
            for graph in ("", ", no graph") if args.device == "cuda" else ("",):
                words = [*command.split(), *(["--no-cuda-graph"] if graph else [])]
                name = f"{kind}, batch {batch}, D {dim}{graph}"
                parts[name] = partial(_program, words, names)
    return parts


def step(args: argparse.Namespace) -> dict[str, Part]:
    """List the runs of benchmarks/pretrain.py, those first that tell most."""
    size = f"--projections 8192 --workers {args.workers} --steps 30 --skip 10"
    if args.toy:
        size = "--projections 64 --workers 0 --steps 3 --skip 1 --batch 16 --width 16 --crop 16"
    if args.data:
        size += f" --data {args.data}"
    runs = [("small", "hadamard", "32-true", "image_folder")]
    runs += [("small", "random", "32-true", "image_folder")]
    if not args.toy:
        dali = find_spec("nvidia") and find_spec("nvidia.dali")
        formats = ("dali", "image_folder") if dali else ("image_folder",)
        networks = [
            (network, "hadamard", "16-mixed", name)
            for network in ("resnet18", "small")
            for name in formats
        ]
        runs = [*networks, ("resnet18", "random", "16-mixed", formats[0])]
        runs += [("resnet18", "hadamard", "32-true", formats[0])]
    parts: dict[str, Part] = {}
    for network, kind, precision, name in runs:
        command = f"pretrain.py --backbone {network} --precision {precision} {size}"
        command += f" --directions {kind} --format {name} --rounds {args.rounds}"
        names = ("step_ms", "batch_ratio", "split_ms", "images_per_second")
        key = f"{network}, {kind}, {precision}, {name}"
        parts[key] = partial(_program, command.split(), names)
        if args.device == "cuda" and network == "resnet18" and kind == "hadamard":
            words = [*command.split(), "--no-cuda-graph"]
            parts[f"{key}, no graph"] = partial(_program, words, names)
    return parts


def _kinds() -> list[str]:
    return [name for name in ("random", "hadamard") if name in DIRECTIONS]


def train(args: argparse.Namespace) -> dict[str, Part]:
    """List a pretraining run, and kNN and the linear probe of its backbone."""
    return {
        "pretrain": partial(_pretrain, args),
        "knn": partial(_knn, args),
        "linear": partial(_linear, args),
    }


STAGES: dict[str, Callable[[argparse.Namespace], dict[str, Part]]] = {
    "check": check,
    "rdmreg": rdmreg,
    "step": step,
    "train": train,
}


def _compare(
    function: Callable[..., dict[str, Tensor]],
    args: argparse.Namespace,
    precision: str,
    **settings: Any,
) -> Found:
    """Compute on the CPU in float64 and on the device, and compare what comes out."""
    dtype, tolerance = PRECISIONS[precision]
    wanted = function(torch.device("cpu"), torch.float64, **settings)
    got = function(torch.device(args.device), dtype, **settings)
    errors = {
        # the norm: two nearly equal values may be ordered either way, which moves a few entries
        name: float((got[name].double().cpu() - value).norm() / value.norm())
        for name, value in wanted.items()
    }
    worst = max(errors, key=lambda name: errors[name])
    ok = all(value < tolerance for value in errors.values())
    return {"ok": ok, "worst": worst, "error": errors[worst], "tolerance": tolerance}


def _seeded(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def _loss(
    device: torch.device, dtype: torch.dtype, *, directions: str, rounded: torch.dtype
) -> dict[str, Tensor]:
    """The terms and their gradient, at directions and target samples that are drawn once."""
    settings = RectifiedLpJEPASettings(
        proj_hidden_dim=64,
        proj_output_dim=64,
        num_projections=256,
        projection_vectors_type=directions,
    )
    criterion = Criterion(settings)
    # Both sides begin with the same outputs. Few bits would make ties, whose order is anybody's.
    z = _seeded(2, 128, 64).relu().to(rounded)
    views = z.to(device, dtype).requires_grad_()
    generator = torch.Generator().manual_seed(1)
    drawn = DIRECTIONS[directions](256)([*z.float()], generator=generator)
    projections = drawn if isinstance(drawn, Tensor) else drawn.dense()
    target = settings.target().sample((2, 128, 64), generator=generator)
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    rdm_reg = criterion.rdm_reg(
        views, target=target.to(device, wide), projections=projections.to(device, wide)
    )
    invariance = (views[0].to(wide) - views[1].to(wide)).square().mean()
    (gradient,) = torch.autograd.grad(125 * rdm_reg + 25 * invariance, views)
    return {"rdm_reg": rdm_reg.detach(), "invariance": invariance.detach(), "gradient": gradient}


def _projector(device: torch.device, dtype: torch.dtype) -> dict[str, Tensor]:
    torch.manual_seed(0)
    settings = RectifiedLpJEPASettings(proj_hidden_dim=64, proj_output_dim=64)
    projector = settings.projector(32).double()
    features = _seeded(128, 32).to(device)
    if dtype == torch.float64:
        return {"outputs": projector(features)}
    projector = projector.to(device).float()
    with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
        return {"outputs": projector(features.float())}


def _diagnostics(device: torch.device, dtype: torch.dtype) -> dict[str, Tensor]:
    z = _seeded(256, 32).relu().bfloat16()
    diagnostics = OutputDiagnostics(32).to(device)
    diagnostics.update(z.to(device, dtype))
    found = diagnostics.compute()
    return {name: found[name] for name in ("l0", "l1", "effective_rank", "nhsic")}


def _sigreg(device: torch.device, dtype: torch.dtype) -> dict[str, Tensor]:
    z = _seeded(128, 32).bfloat16()
    rows = random_directions(64, 32, generator=torch.Generator().manual_seed(2)).double()
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    return {"sigreg": epps_pulley(z.to(device, wide) @ rows.to(device, wide).T)}


def _draws(args: argparse.Namespace) -> Found:
    """Compare means of the target's draws with the closed form, in standard errors."""
    settings = RectifiedLpJEPASettings(proj_hidden_dim=8, proj_output_dim=8, mean_shift_value=-1.0)
    target = settings.target()
    drawn = target.sample((1_000_000,), device=torch.device(args.device)).double().cpu()
    active = float(target.active_probability)
    error = {
        "active": (float((drawn > 0).double().mean()) - active)
        / (active * (1 - active) / len(drawn)) ** 0.5,
        "mean": (float(drawn.mean()) - float(target.mean))
        / (float(target.variance) / len(drawn)) ** 0.5,
    }
    return {"ok": all(abs(value) < 5 for value in error.values()), **error}


def _recorded(args: argparse.Namespace) -> Found:
    """Compare steps that are recorded with those that are not: equal, draws included."""
    options: dict[str, dict[str, Any]] = {
        "paper": {},
        "shared": {"share_target": True},
        "sparse": {"mean_shift_value": -1.0},
        "normal": {"lp_norm_parameter": 2.0},
        "heavy": {"lp_norm_parameter": 0.5},
    }
    equal = {}
    for name, option in options.items():
        for kind in ("random", "hadamard"):
            for dtype in (torch.float32, torch.float16):
                equal[f"{name}, {kind}, {dtype}"] = _equal_steps(args, kind, option, dtype)
    different = [name for name, steps in equal.items() if not steps]
    return {"ok": not different, "compared": len(equal), "different": different}


def _equal_steps(
    args: argparse.Namespace, kind: str, option: Mapping[str, Any], dtype: torch.dtype
) -> bool:
    steps = []
    for recorded in (False, True):
        settings = RectifiedLpJEPASettings(
            proj_hidden_dim=64,
            proj_output_dim=96,
            num_projections=1000,
            projection_vectors_type=kind,
            cuda_graph=recorded,
            **option,
        )
        rdm_reg = Criterion(settings).rdm_reg
        generator = torch.Generator(args.device).manual_seed(1)
        found = []
        for step in range(5):
            views = _seeded(2, 128, 96, seed=step).relu().to(args.device, dtype).requires_grad_()
            value = rdm_reg(views, generator=generator)
            found += [value.detach(), *torch.autograd.grad(3 * value, views)]
        steps.append([*found, torch.rand(3, device=args.device, generator=generator)])
    return all(torch.equal(one, other) for one, other in zip(*steps, strict=True))


def _cfg(args: argparse.Namespace, folder: str, **changes: Any) -> DictConfig:
    off = {"prob": 0.0}
    jitter = {"prob": 0.5, "brightness": 0.4, "contrast": 0.4, "saturation": 0.2, "hue": 0.1}
    names = ("grayscale", "gaussian_blur", "solarization", "equalization", "horizontal_flip")
    operations = dict.fromkeys(names, off)
    rrc = {"enabled": True, "crop_min_scale": 0.5, "crop_max_scale": 1.0}
    cfg = OmegaConf.create(
        {
            "name": "check",
            "method": "rectified_lpjepa",
            "backbone": {"name": "timm/resnet10t"},
            "method_kwargs": {"proj_hidden_dim": 32, "proj_output_dim": 32}
            | {"num_projections": 64},
            "data": {"dataset": "digits", "num_workers": 0},
            "augmentations": [
                {"rrc": rrc, "color_jitter": jitter, "crop_size": 32, "num_crops": 2} | operations
            ],
            "optimizer": {"name": "sgd", "batch_size": 32, "lr": 0.1, "weight_decay": 1e-4},
            "scheduler": {"name": "warmup_cosine", "warmup_epochs": 1},
            "checkpoint": {"enabled": True, "dir": folder, "every_n_steps": 1},
            "auto_resume": {"enabled": True},
            "accelerator": "cpu" if args.device == "cpu" else "gpu",
            "max_epochs": 2,
            "limit_train_batches": 4,
            "num_sanity_val_steps": 0,
            "enable_progress_bar": False,
            "enable_model_summary": False,
        }
    )
    for key, value in changes.items():
        OmegaConf.update(cfg, key.replace("__", "."), value, force_add=True)
    return cfg


class _Stop(Callback):
    @override
    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        if trainer.global_step == 6:
            raise InterruptedError


def _resumed(args: argparse.Namespace) -> Found:
    """Compare a run with one that was stopped within an epoch: equal, as operations repeat."""
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        whole = pretrain(_cfg(args, one, deterministic="warn")).folder
        try:
            pretrain(_cfg(args, other, deterministic="warn"), callbacks=[_Stop()])
        except InterruptedError:
            resumed = pretrain(_cfg(args, other, deterministic="warn")).folder
        difference = _largest_difference(whole, resumed)
    return {"ok": not difference["largest difference"], **difference}


def _repeated(args: argparse.Namespace) -> Found:
    """Say how far apart two equal runs are where operations need not repeat."""
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        runs = [pretrain(_cfg(args, folder)).folder for folder in (one, other)]
        return {"ok": True, **_largest_difference(*runs)}


def _largest_difference(first: Path, second: Path) -> dict[str, Any]:
    weights, others = (
        torch.load(folder / "last.ckpt", weights_only=True)["state_dict"]
        for folder in (first, second)
    )
    differences = {
        name: float((value.double() - others[name].double()).abs().max())
        for name, value in weights.items()
    }
    worst = max(differences, key=lambda name: differences[name])
    return {"largest difference": differences[worst], "of": worst}


def _dali(args: argparse.Namespace) -> Found:
    with tempfile.TemporaryDirectory() as folder:
        cfg = _cfg(args, folder, data__format="dali", dali__device="gpu", max_epochs=1)
        try:
            result = pretrain(cfg)
        except (ImportError, ValueError) as error:
            return {"ok": "not available", "why": str(error)[:200]}
    return {"ok": True, "loss": result.metrics["train_rectified_lp_jepa_loss"]}


def _two_processes(args: argparse.Namespace) -> Found:
    if args.device == "cuda" and torch.cuda.device_count() < 2:
        return {"ok": "needs two cards"}
    with tempfile.TemporaryDirectory() as folder:
        cfg = _cfg(args, folder, devices=2, strategy="ddp", max_epochs=1)
        OmegaConf.save(cfg, f"{folder}/two.yaml")
        command = ["main_pretrain.py", "--config-path", folder, "--config-name", "two"]
        done = _run([HERE.parent / command[0], *command[1:], f"hydra.run.dir={folder}/hydra"])
    return {"ok": done.returncode == 0, "why": done.stderr[-200:] if done.returncode else ""}


def _every_method(args: argparse.Namespace) -> Found:
    """Train by each YAML of the digits for some steps, four at a time."""
    configs = HERE.parent / "scripts" / "pretrain" / "digits"
    names = sorted(path.stem for path in configs.glob("*.yaml"))
    names = [name for name in names if find_spec("lightly") or not name.startswith("visreg")]
    names = names[-2:] if args.toy else names

    def train_by(name: str, folder: str) -> subprocess.CompletedProcess[str]:
        given = ["--config-path", configs, "--config-name", name, f"++checkpoint.dir={folder}"]
        given += ["++max_epochs=1", "++limit_train_batches=4", "++data.num_workers=0"]
        given += ["++enable_progress_bar=false"]
        if args.device == "cpu":
            given.append("++accelerator=cpu")
        return _run([HERE.parent / "main_pretrain.py", *given])

    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(4) as pool:
        done = pool.map(partial(train_by, folder=folder), names)
        failed = {
            name: one.stderr[-300:] for name, one in zip(names, done, strict=True) if one.returncode
        }
    return {"ok": not failed, "methods": len(names), **failed}


def _pretrain(args: argparse.Namespace) -> Found:
    """Train by a CIFAR-100 YAML, with max_time as the limit of this part."""
    epochs = 1 if args.toy else args.epochs
    folder = args.out.with_suffix(".runs")
    name = "rectified_lpjepa_digits" if args.toy else args.yaml
    given = ["--config-path", "digits" if args.toy else "cifar", "--config-name", name]
    given[1] = str(HERE.parent / "scripts" / "pretrain" / given[1])
    given += [f"++checkpoint.dir={folder}", "++auto_resume.enabled=true"]
    given += [f"++max_epochs={epochs}", "++enable_progress_bar=false"]
    if args.toy:
        given += ["++limit_train_batches=4", "++data.num_workers=0", "++accelerator=cpu"]
    elif args.data:
        given += [f"++data.train_path={args.data}", f"++data.val_path={args.data}"]
    if not args.toy:
        given += [f"++data.num_workers={args.workers}", f"++data.format={args.format}"]
    given.append(f"++max_time={{minutes:{args.minutes}}}")
    done = _run([HERE.parent / "main_pretrain.py", *given])
    (run,) = folder.glob("*/*/last.ckpt") if done.returncode == 0 else (None,)
    if run is None:
        return {"ok": False, "why": done.stderr[-300:]}
    saved = torch.load(run, weights_only=True)
    line = next((text for text in done.stdout.splitlines() if "Active outputs" in text), "")
    return {"ok": True, "epochs": saved["epoch"], "steps": saved["global_step"], "line": line}


def _knn(args: argparse.Namespace) -> Found:
    settings = ["++k=[20]", "++temperature=[0.07]", "++distance=[cosine]"]
    found = _evaluate(args, "knn", "knn.json", settings)
    results = found.pop("results", [])
    return found | {each["features"]: each["acc1"] for each in results}


def _linear(args: argparse.Namespace) -> Found:
    epochs = 1 if args.toy else 50
    settings = ["++cache_features=true", "++enable_progress_bar=false", f"++max_epochs={epochs}"]
    settings.append(f"++checkpoint.dir={args.out.with_suffix('.runs')}")
    return _evaluate(args, "linear", "linear-*.json", settings)


def _evaluate(
    args: argparse.Namespace, kind: str, file: str, settings: list[str]
) -> dict[str, Any]:
    """Evaluate the run of this stage, and read the file of results in its folder."""
    folder = args.out.with_suffix(".runs")
    runs = [path.parent for path in folder.glob("*/*/last.ckpt")]
    runs = [run for run in runs if run.parent.name != "linear"]
    if len(runs) != 1:
        return {"ok": False, "why": f"expected one run in {folder} but there are {len(runs)}"}
    configs = HERE.parent / "scripts" / kind / ("digits" if args.toy else "cifar")
    command = ["--config-path", configs, "--config-name", "rectified_lpjepa", *settings]
    command.append(f"++pretrained_feature_extractor={runs[0]}")
    done = _run([HERE.parent / f"main_{kind}.py", *command])
    results = [*runs[0].glob(file)]
    if done.returncode or not results:
        return {"ok": False, "why": done.stderr[-300:]}
    found = json.loads(results[0].read_text())
    names = ("results",) if kind == "knn" else ("features", "acc1", "acc5", "epochs")
    return {"ok": True} | {name: found[name] for name in names}


def _program(command: list[Any], names: tuple[str, ...]) -> Found:
    done = _run([HERE / command[0], *command[1:]])
    if done.returncode:
        return {"ok": False, "why": done.stderr[-300:]}
    found = json.loads(done.stdout.splitlines()[-1])
    return {"ok": True} | {name: found[name] for name in names if name in found}


def _run(command: list[Any]) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-W", "ignore", *map(str, command)]
    return subprocess.run(words, capture_output=True, text=True, check=False, cwd=HERE.parent)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stage", choices=list(STAGES))
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda")
    parser.add_argument("--out", type=Path, default=Path("accelerator.jsonl"))
    parser.add_argument("--limit", type=float, default=480, help="seconds; no part begins after")
    parser.add_argument("--minutes", type=float, default=7, help="of training in `train`")
    parser.add_argument("--epochs", type=int, default=1000, help="of its schedule")
    parser.add_argument("--data", help="a folder with CIFAR-100")
    parser.add_argument("--yaml", default="rectified_lpjepa_cifar100", help="`train` is by this")
    parser.add_argument("--format", default="image_folder", help="of its images; or dali")
    parser.add_argument("--workers", type=int, default=max(1, (os.cpu_count() or 1) - 2))
    parser.add_argument("--rounds", type=int, default=2, help="of each run in `step`")
    parser.add_argument("--toy", action="store_true", help="small enough for a CPU")
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("there is no CUDA device; --device cpu --toy runs the stages at toy size")
    return args


if __name__ == "__main__":
    main()
