# SPDX-License-Identifier: MIT
"""Run a function of a test file in processes that gloo joins; the fixture `gloo` runs this.

The file is loaded once, by its path, and the processes are forked from here: importing torch and
Lightning takes longer than what the tests do.
"""

import importlib.util
import pickle
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.multiprocessing import start_processes

from solo_plugins.distributed import end_group

LIMIT = timedelta(seconds=100)


def run(rank: int, function: Callable[..., Any], job: dict[str, Any], folder: Path) -> None:
    """Join the others, call the function, and leave what it returns in a file of the rank's own."""
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/init",
        rank=rank,
        world_size=job["world_size"],
        timeout=LIMIT,
    )
    result = function(*job["arguments"])
    (folder / f"{rank}.pickle").write_bytes(pickle.dumps(result))
    end_group()


def main(folder: Path) -> None:
    """Start the processes; the first one that fails ends the others and tells its traceback."""
    torch.set_num_threads(1)
    job = pickle.loads((folder / "job.pickle").read_bytes())
    spec = importlib.util.spec_from_file_location(Path(job["file"]).stem, job["file"])
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    arguments = (getattr(module, job["function"]), job, folder)
    start_processes(run, arguments, nprocs=job["world_size"], start_method="fork")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
