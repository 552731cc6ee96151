# SPDX-License-Identifier: MIT
"""Features of a whole data set, each image going through the network once."""

__all__ = ["Features", "describe_outputs", "device_for", "extract", "stream"]

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from solo_plugins.distributions import Quantiles
from solo_plugins.errors import ConfigurationError
from solo_plugins.framework import outputs
from solo_plugins.metrics import OutputDiagnostics

_BINS = 200


class Features(NamedTuple):
    """Features of a data set, on the CPU.

    Args:
        by_name: tensors (N, D) by ``backbone`` and ``projector``.
        targets: labels (N,).
    """

    by_name: dict[str, Tensor]
    targets: Tensor


def device_for(accelerator: str) -> torch.device:
    """Choose where features are computed.

    Args:
        accelerator: Lightning's name for it.

    Returns:
        The GPU if there is one and the accelerator is not the CPU.
    """
    on_gpu = accelerator != "cpu" and torch.cuda.is_available()
    return torch.device("cuda" if on_gpu else "cpu")


@torch.inference_mode()
def extract(
    model: nn.Module, loader: Iterable, names: Sequence[str], device: torch.device
) -> Features:
    """Send every image through the network once.

    Args:
        model: the pretrained method, in evaluation mode and on `device`.
        loader: batches of images (N, C, H, W) and targets (N,).
        names: ``backbone``, ``projector`` or both.
        device: where the network is.

    Returns:
        The features in float32.

    Raises:
        ConfigurationError: if a feature is not finite.
    """
    parts: dict[str, list[Tensor]] = {name: [] for name in names}
    targets = []
    bar = tqdm(loader, "features", leave=False, disable=None)  # in a terminal alone
    for batch, labels in stream(model, bar, names, device):
        for name in names:
            parts[name].append(batch[name])
        targets.append(labels)
    return Features({name: torch.cat(part) for name, part in parts.items()}, torch.cat(targets))


@torch.inference_mode()
def stream(
    model: nn.Module, loader: Iterable, names: Sequence[str], device: torch.device
) -> Iterator[tuple[dict[str, Tensor], Any]]:
    """Send every image through the network once, and keep nothing.

    Args:
        model: what has a ``backbone`` and a projector, in evaluation mode and on `device`.
        loader: pairs of images (N, C, H, W) and anything.
        names: ``backbone``, ``projector`` or both.
        device: where the network is.

    Yields:
        Features (N, D) in float32 on the CPU by name, and what came with the images.

    Raises:
        ConfigurationError: if a feature is not finite.
    """
    backbone: Any = model.backbone
    for images, others in loader:
        feats = backbone(images.to(device, non_blocking=True))
        batch = {"backbone": feats}
        if "projector" in names:
            batch["projector"] = outputs(model, feats)
        found = {name: batch[name].float().cpu() for name in names}
        for name, features in found.items():
            if not features.isfinite().all():
                bad = int((~features.isfinite()).any(dim=1).sum())
                raise ConfigurationError(
                    f"Expected the checkpoint's {name} features to be finite but {bad} of "
                    f"{len(features)} images have NaN or infinite ones: its training diverged."
                )
        yield found, others


def describe_outputs(
    z: Tensor, target_l0: float | None, target: Quantiles | None = None
) -> dict[str, Any]:
    """Describe how sparse a network's outputs are and how the active ones are distributed.

    Args:
        z: outputs (N, D), finite.
        target_l0: the target active fraction, or None if the method has none.
        target: the distribution that each output was matched to, or None if there is none.

    Returns:
        ``num_samples``, ``dim``, all of
        :class:`~solo_plugins.metrics.diagnostics.OutputDiagnostics`, ``target_l0``, and a
        histogram of the values that are not zero. What is not defined is None: ``l1`` if all
        samples are zero, ``marginal_distance`` without a target, ``nhsic`` without two outputs that
        vary.

    Example:
        >>> described = describe_outputs(torch.tensor([[0.0, 2.0], [0.0, 0.0]]), None)
        >>> described["l0"], described["l1"], described["dead_outputs"], described["all_zero_rows"]
        (0.25, 0.5, 0.5, 0.5)
        >>> described["effective_rank"], described["nhsic"]
        (1.0, None)
    """
    diagnostics = OutputDiagnostics(z.size(1), target)
    diagnostics.update(z)
    found = {name: value.item() for name, value in diagnostics.compute().items()}
    counts, edges = np.histogram(z[z != 0].numpy(), _BINS)
    return {
        "num_samples": len(z),
        "dim": z.size(1),
        "marginal_distance": None,
        **{name: None if math.isnan(value) else value for name, value in found.items()},
        "target_l0": target_l0,
        "histogram": {"edges": edges.tolist(), "counts": counts.tolist()},
    }
