# SPDX-License-Identifier: MIT
"""The active fraction of a trained network against its target.

    python benchmarks/sparsity_control.py [--quick] [--data DIR] [--variants paper ours ...]

Trains a small convolutional network and the paper's projector for a fixed number of steps, once
for each target, p, seed and variant of the loss, on scikit-learn's digits or, with `--data`, on
CIFAR-100 (the first images of each class). Two augmented views. Active fractions, nearest
neighbours (k = 20, cosine), dead outputs and all-zero rows are those of held-out images that are
not augmented, with the network in evaluation mode. The variants are settings of `method_kwargs`:
`paper` has none, `ours` is rectified_lpjepa_cifar100_calibrated.yaml's. The last line is JSON:
errors and `knn_delta` are means over the grid, the maxima those of `ours`.
"""

import argparse
import dataclasses
import itertools
import json
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import timm
import torch
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.datasets import CIFAR100

from solo_plugins import (
    Criterion,
    RectifiedLpJEPASettings,
    all_zero_rows,
    dead_outputs,
    l0_sparsity,
)

OURS = {
    "threshold_rate": 0.05,
    "standardize_outputs": True,
    "row_floor": 0.25,
    "sparsity_warmup": 0.9,
}
VARIANTS: dict[str, dict[str, Any]] = {
    "paper": {},
    "ours": OURS,
    "orthogonal": {"projection_vectors_type": "orthogonal"},
    "few-directions": {"num_projections": 64},
    "shared-target": {"share_target": True},
    "unit-rms": {"unit_rms_target": True},
    "rep-relu": {"projector_type": "rep_rectified_mlp"},
    "warm-up": {"sparsity_warmup": 0.9},
    "thresholds": {"threshold_rate": 0.05},
    "thresholds-warm-up": {"threshold_rate": 0.05, "sparsity_warmup": 0.9},
    "thresholds-standardized": {"threshold_rate": 0.05, "standardize_outputs": True},
    "ours-without-floor": {**OURS, "row_floor": 0.0},
    "ours-without-warm-up": {**OURS, "sparsity_warmup": 0.0},
    "ours-without-standardizing": {**OURS, "standardize_outputs": False},
    "ours-without-thresholds": {**OURS, "threshold_rate": 0.0},
    "ours-unit-rms": {**OURS, "unit_rms_target": True},
    "ours-rep-relu": {**OURS, "projector_type": "rep_rectified_mlp"},
}
TARGETS, EXPONENTS = (0.02, 0.05, 0.1, 0.25, 0.5, 0.75), (0.5, 1.0, 2.0)
QUICK_TARGETS = (0.02, 0.05, 0.25, 0.75)


class Job(NamedTuple):
    """One training run."""

    variant: str
    target: float
    p: float
    seed: int
    steps: int
    batch: int
    dim: int
    projections: int
    backbone: str
    data: str | None


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What one run came to, on held-out images."""

    achieved: float
    knn_backbone: float
    knn_projector: float
    dead_outputs: float
    all_zero_rows: float
    seconds: float


@cache
def images(data: str | None) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Load (images, labels) to train on and to hold out, images (N, C, H, W) around 0."""
    if data is None:
        digits = load_digits()
        x = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
        y = torch.tensor(digits.target)
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
        x, y = x[order], y[order]
        return (x[:1437], y[:1437]), (x[1437:], y[1437:])
    return _cifar(data, train=True, per_class=100), _cifar(data, train=False, per_class=20)


def _cifar(data: str, *, train: bool, per_class: int) -> tuple[Tensor, Tensor]:
    found = CIFAR100(data, train=train)
    labels = np.array(found.targets)
    chosen = np.concatenate([np.flatnonzero(labels == c)[:per_class] for c in range(100)])
    x = torch.from_numpy(found.data[chosen]).permute(0, 3, 1, 2).float() / 255
    return (x - x.mean(dim=(0, 2, 3), keepdim=True)) / 0.25, torch.from_numpy(labels[chosen])


def augment(x: Tensor, generator: torch.Generator) -> Tensor:
    """Rotate, scale, shift, dim and blur with noise; colour images are flipped and tinted too."""
    n = len(x)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(n, *shape, generator=generator) * (high - low) + low

    angle, size = uniform(-0.3, 0.3), uniform(0.7, 1.2)
    turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], dim=1)
    matrix = torch.cat([(size.unsqueeze(1) * turn).view(n, 2, 2), uniform(-0.3, 0.3, 2, 1)], dim=2)
    if x.size(1) == 3:
        matrix[:, 0] *= uniform(-1, 1).sign().unsqueeze(1)
    padding = "zeros" if x.size(1) == 1 else "reflection"
    grid = F.affine_grid(matrix, list(x.shape), align_corners=False)
    x = F.grid_sample(x, grid, padding_mode=padding, align_corners=False)
    x = x * uniform(0.7, 1.3, x.size(1) if x.size(1) == 3 else 1, 1, 1)
    return x + 0.05 * torch.randn(x.shape, generator=generator)


def network(name: str, channels: int) -> nn.Module:
    """Build a backbone: four layers of convolutions, or one of timm's."""
    if name != "small":
        return timm.create_model(name, num_classes=0, in_chans=channels)
    widths = (16, 32, 64) if channels == 1 else (32, 64, 128)
    layers: list[nn.Module] = []
    for stride, (old, new) in enumerate(itertools.pairwise((channels, *widths)), start=1):
        convolution = nn.Conv2d(old, new, 3, min(stride, 2), padding=1, bias=False)
        layers += [convolution, nn.BatchNorm2d(new), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def train(job: Job) -> Outcome:
    """Train and measure one run, on one thread."""
    torch.set_num_threads(1)
    torch.manual_seed(job.seed)
    started, generator = time.monotonic(), torch.Generator().manual_seed(job.seed + 1)
    (x, y), (held_x, held_y) = images(job.data)
    settings = RectifiedLpJEPASettings.from_config(
        {
            "proj_hidden_dim": job.dim,
            "proj_output_dim": job.dim,
            "num_projections": job.projections,
            "lp_norm_parameter": job.p,
            "target_active_fraction": job.target,
            **VARIANTS[job.variant],
        }
    )
    backbone, criterion = network(job.backbone, x.size(1)), Criterion(settings)
    with torch.no_grad():
        projector = settings.projector(backbone(x[:2]).size(1))
    parameters = [*backbone.parameters(), *projector.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 1e-3, total_steps=job.steps, pct_start=0.1
    )
    for step in range(job.steps):
        batch = x[torch.randint(len(x), (job.batch,), generator=generator)]
        views = torch.cat([augment(batch, generator), augment(batch, generator)])
        z = projector(backbone(views))
        progress = step / job.steps
        loss, _ = criterion(z.chunk(2), progress=progress, generator=generator)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        criterion.control(z.detach(), projector, progress=progress)
    found = [_features(backbone, projector, part) for part in (x, held_x)]
    z = found[1][1]
    return Outcome(
        achieved=float(l0_sparsity(z)),
        knn_backbone=_knn(found[0][0], y, found[1][0], held_y),
        knn_projector=_knn(found[0][1], y, found[1][1], held_y),
        dead_outputs=float(dead_outputs(z)),
        all_zero_rows=float(all_zero_rows(z)),
        seconds=time.monotonic() - started,
    )


@torch.inference_mode()
def _features(backbone: nn.Module, projector: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    backbone.eval(), projector.eval()
    feats = torch.cat([backbone(part) for part in x.split(256)])
    return feats, projector(feats)


def _knn(x: Tensor, y: Tensor, held_x: Tensor, held_y: Tensor) -> float:
    """Classify by 20 neighbours; a row of zeros has no direction and no near neighbour."""
    bank, query = F.normalize(x).numpy(), F.normalize(held_x).numpy()
    model = KNeighborsClassifier(20, metric="cosine", algorithm="brute", weights="distance")
    return 100 * float(model.fit(bank, y.numpy()).score(query, held_y.numpy()))


def main() -> None:
    """Print a table and, as the last line, the figures as JSON."""
    args = _parse()
    grid = itertools.product(args.p, args.targets, args.variants, range(args.seeds))
    jobs = [
        Job(variant, target, p, seed, args.steps, args.batch, args.dim, args.projections,
            args.backbone, args.data)
        for p, target, variant, seed in grid
    ]  # fmt: skip
    with ProcessPoolExecutor(args.workers) as pool:
        outcomes = dict(zip(jobs, pool.map(train, jobs), strict=True))
    _print(outcomes)
    print(json.dumps(_figures(outcomes, args)))


def _print(outcomes: dict[Job, Outcome]) -> None:
    print(
        f"{'p':>4} {'target':>7} {'variant':<26} {'achieved':>16} {'error':>6} "
        f"{'kNN backbone':>12} {'kNN projector':>13} {'dead':>6} {'zero rows':>9}"
    )
    seen = dict.fromkeys((job.p, job.target, job.variant) for job in outcomes)
    for p, target, variant in seen:
        rows = [out for job, out in outcomes.items() if (job.p, job.target, job.variant) ==
                (p, target, variant)]  # fmt: skip
        achieved = [row.achieved for row in rows]
        spread = statistics.stdev(achieved) if len(rows) > 1 else 0.0
        print(
            f"{p:>4g} {target:>7g} {variant:<26} {statistics.mean(achieved):>7.4f} +- {spread:.4f} "
            f"{statistics.mean(abs(fraction - target) for fraction in achieved):>6.4f} "
            f"{_mean(rows, 'knn_backbone'):>12.2f} {_mean(rows, 'knn_projector'):>13.2f} "
            f"{max(row.dead_outputs for row in rows):>6.3f} "
            f"{max(row.all_zero_rows for row in rows):>9.3f}"
        )


def _figures(outcomes: dict[Job, Outcome], args: argparse.Namespace) -> dict[str, Any]:
    by_variant = {
        variant: {job: out for job, out in outcomes.items() if job.variant == variant}
        for variant in args.variants
    }
    summary = {variant: _summary(found) for variant, found in by_variant.items()}
    figures: dict[str, Any] = {}
    if "ours" in summary:
        figures |= summary["ours"]
    if {"ours", "paper"} <= set(summary):
        ours, paper = summary["ours"], summary["paper"]
        figures["mean_abs_error_paper"] = paper["mean_abs_error"]
        figures["knn_delta"] = ours["knn_backbone"] - paper["knn_backbone"]
        figures["knn_delta_projector"] = ours["knn_projector"] - paper["knn_projector"]
    settings = {name: value for name, value in vars(args).items() if name != "data"}
    return {
        **figures,
        "variants": summary,
        "data": "digits" if args.data is None else "cifar100",
        "settings": settings,
        "torch": torch.__version__,
    }


def _summary(found: dict[Job, Outcome]) -> dict[str, float]:
    rows = list(found.values())
    errors = [abs(out.achieved - job.target) for job, out in found.items()]
    return {
        "mean_abs_error": statistics.mean(errors),
        "max_abs_error": max(errors),
        "knn_backbone": _mean(rows, "knn_backbone"),
        "knn_projector": _mean(rows, "knn_projector"),
        "dead_outputs_max": max(row.dead_outputs for row in rows),
        "all_zero_rows_max": max(row.all_zero_rows for row in rows),
        "seconds_per_run": _mean(rows, "seconds"),
    }


def _mean(rows: list[Outcome], name: str) -> float:
    return statistics.mean(getattr(row, name) for row in rows)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a smaller grid and one seed")
    parser.add_argument("--data", help="a folder with cifar-100-python; digits by default")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=["paper", "ours"])
    parser.add_argument("--targets", nargs="+", type=float)
    parser.add_argument("--p", nargs="+", type=float, default=list(EXPONENTS))
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--projections", type=int, default=512)
    parser.add_argument("--backbone", default="small", help="small, or a name of timm's")
    parser.add_argument("--workers", type=int, default=2, help="runs at a time")
    args = parser.parse_args()
    args.targets = args.targets or list(QUICK_TARGETS if args.quick else TARGETS)
    args.seeds = args.seeds or (1 if args.quick else 3)
    if args.data is not None and not Path(args.data, "cifar-100-python").is_dir():
        parser.error(f"Expected `--data` to hold cifar-100-python but got {args.data!r}.")
    return args


if __name__ == "__main__":
    main()
