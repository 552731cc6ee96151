# SPDX-License-Identifier: MIT
"""Rectified LpJEPA in a plain PyTorch loop.

python examples/minimal.py --data ./datasets
"""

import argparse
import time

import timm
import torch
from torch import nn
from torch.nn.functional import mse_loss
from torch.utils.data import DataLoader
from torchvision import datasets
from torchvision import transforms as T
from tqdm import tqdm

from solo_plugins import (
    RandomDirections,
    RDMReg,
    RectifiedGeneralizedGaussian,
    RectifiedMLP,
    l0_sparsity,
    sigma_gn,
)

AUGMENT = T.Compose(
    [
        T.RandomResizedCrop(32, scale=(0.2, 1.0)),
        T.RandomHorizontalFlip(),
        T.RandomApply([T.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
        T.ToTensor(),
        T.Normalize((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    ]
)


def two_views(image: object) -> tuple[torch.Tensor, torch.Tensor]:
    """Augment an image twice."""
    return AUGMENT(image), AUGMENT(image)


def main(argv: list[str] | None = None) -> float:
    """Train, and return the last epoch's mean loss."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data", default="./datasets", help="CIFAR-100 is downloaded to here"
    )
    parser.add_argument(
        "--synthetic", action="store_true", help="random images, no download"
    )
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--max-batches", type=int, help="end each epoch early")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    torch.manual_seed(args.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    amp = device == "cuda"
    if args.synthetic:
        dataset = datasets.FakeData(512, (3, 32, 32), 100, transform=two_views)
    else:
        dataset = datasets.CIFAR100(
            args.data, download=True, transform=two_views
        )
    loader = DataLoader(
        dataset,
        args.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=args.workers,
    )
    backbone = timm.create_model("resnet18", num_classes=0).to(device)
    projector = RectifiedMLP(512, 512, 512).to(device)
    # p = 1, mu = 0: half of the target's outputs are zero
    target = RectifiedGeneralizedGaussian(0.0, sigma_gn(1.0), 1.0)
    rdm_reg = RDMReg(target, RandomDirections(256))
    model = nn.Sequential(backbone, projector)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=1e-3, weight_decay=1e-4
    )
    scaler = torch.amp.GradScaler(device, enabled=amp)
    for epoch in range(1, args.epochs + 1):
        start, losses, zeros = time.perf_counter(), [], []
        bar = tqdm(loader, desc=f"epoch {epoch}")
        for step, ((first, second), _) in enumerate(bar):
            if step == args.max_batches:
                break
            with torch.autocast(device, enabled=amp):
                z1, z2 = model(torch.cat([first, second]).to(device)).chunk(2)
                loss = (
                    25 * mse_loss(z1, z2)
                    + 125 * (rdm_reg(z1) + rdm_reg(z2)) / 2
                )
            optimizer.zero_grad()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            losses.append(loss.item())
            zeros.append(1 - l0_sparsity(z1).item())
            bar.set_postfix(loss=f"{losses[-1]:.2f}", zeros=f"{zeros[-1]:.2f}")
        mean_loss, mean_zeros = (
            sum(losses) / len(losses),
            sum(zeros) / len(zeros),
        )
        seconds = time.perf_counter() - start
        print(
            f"epoch {epoch}: loss {mean_loss:.3f}, zeros {mean_zeros:.3f}, "
            f"{seconds:.0f} s"
        )
    return mean_loss


if __name__ == "__main__":
    main()
