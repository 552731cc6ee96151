# SPDX-License-Identifier: MIT
"""Time of RDMReg in each of several processes, against the cost model of docs/performance.md.

    python benchmarks/processes.py [--processes 1 2 4 --directions hadamard]

Each process takes its share of the directions and of the batch, forward and backward, on one thread
of the CPU; gloo joins them. `each` gives every process `--batch` samples, `all` gives that many to
all of them together. `cpu_ms` is the processor's time of the slowest process, without what gloo's
own threads use, the median of `--repeats`: processes may share a core. The model takes two figures
from one process, of `draws`, which all processes make of the whole batch, and of the rest, which
each makes of its share; `model_ms` is what they make of the others.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

import torch
import torch.distributed as dist
from torch.multiprocessing import start_processes

from solo_plugins import RDMReg, RectifiedGeneralizedGaussian, sigma_gn
from solo_plugins.distributed import end_group
from solo_plugins.losses import DIRECTIONS

TARGET = RectifiedGeneralizedGaussian(0.0, sigma_gn(1.0), 1.0)
VIEWS = 2


def main() -> None:
    """Print a table and, as the last line, the figures as JSON."""
    args = _parse()
    load = os.getloadavg()[0]  # of the minute before, without our own
    rows = []
    for batch_of in ("each", "all"):
        base = None
        for number in args.processes:
            samples = args.batch if batch_of == "each" else args.batch // number
            step, draws = _measure(number, samples, args)
            if base is None:
                base = (number, step - draws)
            share = 1.0 if batch_of == "each" else base[0] / number
            rows.append(
                {
                    "batch_of": batch_of,
                    "processes": number,
                    "samples": samples,
                    "cpu_ms": 1e3 * step,
                    "draws_ms": 1e3 * draws,
                    "model_ms": 1e3 * (draws + base[1] * share),
                }
            )
    print(" ".join(f"{name:>10}" for name in rows[0]))
    for row in rows:
        print(" ".join(f"{x:>10.1f}" if isinstance(x, float) else f"{x:>10}" for x in row.values()))
    settings = {name: getattr(args, name) for name in ("directions", "dim", "projections")}
    print(json.dumps({"rows": rows, **settings, "load": load, "torch": torch.__version__}))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--directions", choices=DIRECTIONS, default="hadamard")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--dim", type=int, default=2048)
    parser.add_argument("--projections", type=int, default=8192)
    parser.add_argument("--repeats", type=int, default=7)
    return parser.parse_args()


def _measure(number: int, samples: int, args: argparse.Namespace) -> tuple[float, float]:
    """Return the slowest process's seconds of a step, and of the draws in it."""
    with tempfile.TemporaryDirectory() as folder:
        start_processes(
            _process, (number, samples, args, folder), nprocs=number, start_method="fork"
        )
        found = [json.loads((Path(folder) / str(rank)).read_text()) for rank in range(number)]
    step, draws = (max(each[i] for each in found) for i in (0, 1))
    return step, draws


def _process(rank: int, number: int, samples: int, args: argparse.Namespace, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/init", rank=rank, world_size=number
    )
    torch.manual_seed(0)  # directions and targets are the same everywhere
    directions = DIRECTIONS[args.directions](args.projections)
    rdm_reg = RDMReg(TARGET, directions)
    views = torch.rand(VIEWS, samples, args.dim, requires_grad=True)
    steps, draws = [], []
    for _ in range(args.repeats + 1):
        dist.barrier()
        start = time.thread_time()
        rdm_reg(views).backward()
        steps.append(time.thread_time() - start)
        start = time.thread_time()
        TARGET.sample((VIEWS, args.dim, samples * number))
        directions([views[0]])
        draws.append(time.thread_time() - start)
    figures = [statistics.median(found[1:]) for found in (steps, draws)]  # the first warms up
    (Path(folder) / str(rank)).write_text(json.dumps(figures))
    end_group()


if __name__ == "__main__":
    main()
