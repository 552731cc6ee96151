# SPDX-License-Identifier: MIT
"""A run of several processes ends as a whole, with one line, when one cannot go on."""

from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import OmegaConf


@pytest.mark.slow
@pytest.mark.ddp
@pytest.mark.parametrize("seed", [5, pytest.param(6, marks=pytest.mark.torture)])
def test_a_damaged_image_ends_all_processes_with_one_line(
    seed: int, run_program: Callable, on_folder: Callable, folder: Path, tmp_path: Path
) -> None:
    # past its header, where decoding alone finds it; which process does is the seed's choice
    path = folder / "first" / "3.png"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)
    cfg = on_folder(folder)
    cfg.update({"devices": 2, "seed": seed, "limit_train_batches": None, "max_epochs": 1})
    cfg.optimizer.batch_size = 12
    cfg.augmentations[0].num_crops = 2
    OmegaConf.save(cfg, tmp_path / "run.yaml")
    # run_program ends with an error of its own after five minutes
    done = run_program(
        "main_pretrain.py", "--config-path", str(tmp_path), "--config-name", "run",
        f"hydra.run.dir={tmp_path / 'hydra'}", HYDRA_FULL_ERROR="0",
    )  # fmt: skip
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert lines == [
        f"error: {str(path)!r} cannot be read as an image: broken data stream when reading image "
        "file."
    ]
