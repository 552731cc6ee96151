# SPDX-License-Identifier: MIT
"""Time and memory of RDMReg, forward and backward, against the formula written plainly.

    python benchmarks/rdmreg.py [--directions hadamard --batch 256 --dim 512 --projections 8192]

Two views. The plain formula draws a target for each view, sorts (batch, projections) along the
batch and lets autograd keep what it needs; ours does the same with `RDMReg` and the kind of
directions that is asked for. Both draw directions and targets within the measured time. The floor
is what ours cannot do without, alone: its products on the directions, forward and back, and its
sorts; `floor_ratio` is the time of ours over that of the floor. Times are medians of alternating
runs; memory is what a fresh process needs at its peak beyond what it held after a first run, which
loads libraries and their buffers (CUDA: what torch took of the device, a recording's share
included), on a CPU the median of up to five processes. The C library is told to give memory back as
soon as it is freed: by default it keeps it, and the holes in it move the peak of a loss that needs
little by a third. On a GPU ours is recorded as a CUDA graph, unless `--no-cuda-graph` is given.
`load` is the number of processes that were running on average in the minute before: beside other
work times are longer, and not all by one factor.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from solo_plugins import RDMReg, RectifiedGeneralizedGaussian, sigma_gn
from solo_plugins.losses import DIRECTIONS, Directions
from solo_plugins.losses.buffers import Buffers
from solo_plugins.losses.ordering import sort_in_place
from solo_plugins.losses.projections import Piece
from solo_plugins.losses.sliced_wasserstein import default_chunk_size
from solo_plugins.losses.sorted_difference import joins_views
from solo_plugins.losses.workers import divided_threads, in_parallel, number_of_jobs, share_of

TARGET = RectifiedGeneralizedGaussian(0.0, sigma_gn(1.0), 1.0)
NAMES = ("plain", "ours", "floor")
MEASURED = ("plain", "ours")  # whose memory is


def plain(views: list[Tensor], num_projections: int) -> Tensor:
    """Compute the loss as equation 13 reads, with autograd."""
    dim, device = views[0].size(1), views[0].device
    directions = torch.randn(num_projections, dim, device=device)
    directions = directions / directions.norm(dim=1, keepdim=True)
    losses = []
    for z in views:
        target = TARGET.sample(z.shape, device=device)
        sorted_z = torch.sort(z @ directions.T, dim=0).values
        sorted_target = torch.sort(target @ directions.T, dim=0).values
        losses.append((sorted_z - sorted_target).square().mean(dim=0).mean())
    return (losses[0] + losses[1]) / 2


class Floor:
    """The products and sorts of ours: nothing is drawn, packed, matched or summed.

    Args:
        views: outputs (N, D) of each view.
        directions: the directions of ours.
    """

    def __init__(self, views: list[Tensor], directions: Directions) -> None:
        projections = directions(views)
        samples = torch.stack([view.detach() for view in views])
        num_views, self.num_samples, dim = samples.shape
        if joins_views(samples.device):
            samples = samples.view(1, -1, dim)
        buffers = Buffers(samples.device)
        self.columns = [projections.enter(view, buffers) for view in samples]
        chunk_size = default_chunk_size(self.num_samples, samples.device)
        jobs = number_of_jobs(projections.num * num_views * self.num_samples, samples.device)
        shares = [share_of(range(projections.num), job, jobs) for job in range(jobs)]
        self.jobs = [
            partial(self._walk, projections.pieces(share, max(1, chunk_size // jobs)))
            for share in shares
        ]

    @torch.no_grad()
    def run(self) -> None:
        """Project and sort outputs and targets, and project back."""
        with divided_threads(len(self.jobs)):
            in_parallel(self.jobs, len(self.jobs))

    def _walk(self, pieces: Sequence[Piece]) -> None:
        gradient = [torch.zeros_like(view) for view in self.columns]
        buffers = Buffers(self.columns[0].device)
        for piece in pieces:
            for view, columns in enumerate(self.columns):
                for name in ("target", "outputs"):
                    projected = piece.project(columns, view, buffers, name)
                    rows = buffers.view(Tensor.view, projected, -1, self.num_samples)
                    sort_in_place(rows, buffers)
                piece.back(projected, gradient[view], view, buffers)


def main() -> None:
    """Print a table and, as the last line, the figures as JSON."""
    args = _parse()
    if args.threads:
        torch.set_num_threads(args.threads)
    if args.memory_of:
        print(_peak_extra_memory(args))
        return
    load = os.getloadavg()[0]  # of the minute before, without our own
    seconds = _time(args)
    peaks = _memory(args)
    megabytes = {name: statistics.median(values) for name, values in peaks.items()}
    result = {
        "speedup": seconds["plain"] / seconds["ours"],
        "memory_ratio": megabytes["ours"] / megabytes["plain"],
        "floor_ratio": seconds["ours"] / seconds["floor"],
        "directions": args.directions,
        "seconds": seconds,
        "peak_extra_mb": megabytes,
        "peak_extra_mb_of_each_process": peaks,
        "batch": args.batch,
        "dim": args.dim,
        "projections": args.projections,
        "device": _device_name(args.device),
        "threads": torch.get_num_threads(),
        "load": load,
        "torch": torch.__version__,
    }
    print(f"{'':8}{'ms':>10}{'peak MB':>10}")
    for name in NAMES:
        memory = f"{megabytes[name]:10.1f}" if name in MEASURED else ""
        print(f"{name:8}{1e3 * seconds[name]:10.1f}{memory}")
    print(f"{'ratio':8}{result['speedup']:10.2f}{result['memory_ratio']:10.3f}")
    print(f"floor_ratio {result['floor_ratio']:.2f}")
    print(json.dumps(result))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--directions", choices=DIRECTIONS, default="random")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--projections", type=int, default=8192)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, help="torch's own number by default")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--cuda-graph", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--memory-of", choices=MEASURED, help=argparse.SUPPRESS)
    return parser.parse_args()


class _Steps:
    """One forward and backward of each, with new outputs each time."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._args = args
        self._directions = DIRECTIONS[args.directions](args.projections)
        self._ours = RDMReg(TARGET, self._directions, cuda_graph=args.cuda_graph)

    def run(self, name: str) -> float:
        """Run one and return its seconds."""
        args = self._args
        shape = (args.batch, args.dim)
        views = [torch.rand(shape, device=args.device, requires_grad=True) for _ in range(2)]
        steps: dict[str, Callable[[], None]] = {
            "plain": lambda: plain(views, args.projections).backward(),
            "ours": lambda: self._ours(views).backward(),
            "floor": lambda: None,
        }
        if name == "floor":
            steps[name] = Floor(views, self._directions).run
        _synchronize(args)
        start = time.perf_counter()
        steps[name]()
        _synchronize(args)
        return time.perf_counter() - start


def _warm_ups(args: argparse.Namespace) -> int:
    """How many runs do not count: a GPU's second one is recorded."""
    return 1 if args.device == "cpu" else 3


def _time(args: argparse.Namespace) -> dict[str, float]:
    steps, warm_ups = _Steps(args), _warm_ups(args)
    seconds: dict[str, list[float]] = {name: [] for name in NAMES}
    for repeat in range(args.repeats + warm_ups):
        for name in NAMES:
            taken = steps.run(name)
            if repeat >= warm_ups:
                seconds[name].append(taken)
    return {name: statistics.median(values) for name, values in seconds.items()}


def _in_fresh_process(name: str) -> float:
    command = [sys.executable, __file__, *sys.argv[1:], "--memory-of", name]
    exact = {**os.environ, "MALLOC_MMAP_THRESHOLD_": str(2**16)}
    run = subprocess.run(command, check=True, capture_output=True, text=True, env=exact)
    return float(run.stdout)


def _memory(args: argparse.Namespace) -> dict[str, list[float]]:
    """Measure in several processes on a CPU, where a peak is not quite the same each time."""
    processes = 1 if args.device == "cuda" else min(args.repeats, 5)
    return {name: [_in_fresh_process(name) for _ in range(processes)] for name in MEASURED}


def _peak_extra_memory(args: argparse.Namespace) -> float:
    """Warm up, so that libraries are loaded, and return megabytes of the run after that."""
    steps = _Steps(args)
    for _ in range(_warm_ups(args)):
        steps.run(args.memory_of)
    if args.device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        steps.run(args.memory_of)
        return torch.cuda.max_memory_reserved() / 1e6
    before = _status_kb("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # forget the high-water mark
    steps.run(args.memory_of)
    kilobytes = max(4, _status_kb("VmHWM") - before)  # a page is the least that is counted
    return kilobytes * 1024 / 1e6


def _status_kb(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:"))


def _device_name(device: str) -> str:
    if device == "cuda":
        return torch.cuda.get_device_name()
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, device)


def _synchronize(args: argparse.Namespace) -> None:
    if args.device == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
