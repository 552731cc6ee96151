# SPDX-License-Identifier: MIT
"""A trained network's active fraction: of which images, and in which mode?

    python benchmarks/active_fraction.py RUN [RUN ...] [--images 6000]

RUN is a pretraining run's folder. Thresholds are moved by augmented training images, whose batch
also normalises them; what is evaluated are whole images, in evaluation mode. Each step from the one
to the other has a column. The last line is JSON.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, seed_everything
from omegaconf import DictConfig
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset

from solo_plugins import l0_sparsity, register
from solo_plugins.data import LabelledDataModule, PretrainDataModule
from solo_plugins.evaluation.features import extract
from solo_plugins.evaluation.network import build
from solo_plugins.runs.pretrained import find_pretrained

COLUMNS = {
    "target": "target",
    "training_mode": "augmented, training mode",
    "augmented": "augmented",
    "whole": "whole",
    "validation": "validation",
}


def main() -> None:
    """Print a table and, as the last line, the fractions as JSON."""
    args = _arguments()
    register()
    print(f"{'run':<40}" + "".join(f" {title:>{len(title)}}" for title in COLUMNS.values()))
    found = {run: fractions(run, args.images) for run in args.runs}
    for run, row in found.items():
        cells = (f" {_cell(row[name]):>{len(title)}}" for name, title in COLUMNS.items())
        print(f"{Path(run).name:<40}{''.join(cells)}")
    print(json.dumps({"images": args.images, "torch": torch.__version__, "fractions": found}))


def fractions(run: str, images: int) -> dict[str, float | None]:
    """Compute the active fractions of one run's outputs.

    Args:
        run: the run's folder.
        images: the largest number of images of each kind, drawn at random.

    Returns:
        The target active fraction, None without one, and those of the columns.
    """
    pretrained = find_pretrained(run)
    cfg: Any = pretrained.cfg
    cfg.data.num_workers = 0
    model = build(pretrained, cfg, projector=True)
    seed_everything(0, verbose=False)
    crops, whole = PretrainDataModule(cfg), LabelledDataModule(cfg, augment=False)
    return {
        "target": getattr(model, "target_l0", None),
        **_of_crops(model, crops, images, cfg),
        "whole": _of_images(model, whole.train_set, images, cfg),
        "validation": _of_images(model, whole.val_set, images, cfg),
    }


@torch.no_grad()
def _of_crops(
    model: LightningModule, data: PretrainDataModule, images: int, cfg: DictConfig
) -> dict[str, float]:
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    found: dict[str, list[Tensor]] = {"training_mode": [], "augmented": []}
    size = min(cfg.optimizer.batch_size, images)
    for _, views, _ in DataLoader(_some(data.train_set, images), size, drop_last=True):
        for mode, fractions in found.items():
            model.train(mode == "training_mode")
            large = views[: cfg.data.num_large_crops]
            fractions += [l0_sparsity(model(view)["z"]) for view in large]
        model.load_state_dict(weights)  # a step in training mode moves running statistics
    model.eval()
    return {mode: float(torch.stack(fractions).mean()) for mode, fractions in found.items()}


def _of_images(model: LightningModule, data: Any, images: int, cfg: DictConfig) -> float:
    loader = DataLoader(_some(data, images), cfg.optimizer.batch_size)
    found = extract(model, loader, ["projector"], torch.device("cpu"))
    return float(l0_sparsity(found.by_name["projector"]))


def _cell(fraction: float | None) -> str:
    return "none" if fraction is None else f"{fraction:.4f}"


def _some(data: Any, images: int) -> Dataset:
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))
    return Subset(data, order[:images].tolist())


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", metavar="RUN", help="a pretraining run's folder")
    parser.add_argument("--images", type=int, default=6000, help="of each kind, at most")
    return parser.parse_args()


if __name__ == "__main__":
    main()
