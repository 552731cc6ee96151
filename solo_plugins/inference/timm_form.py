# SPDX-License-Identifier: MIT
"""The same backbone as a model of timm, where timm has the same architecture."""

__all__ = ["NotInTimmError", "TimmTwin", "data_config", "timm_twin"]

from typing import Any, NamedTuple

import timm
import torch
from omegaconf import OmegaConf
from torch import nn

from solo_plugins.data.datasets import DATASETS
from solo_plugins.data.transforms import INTERPOLATION, resized_side
from solo_plugins.errors import ConfigurationError
from solo_plugins.inference.encoder import Encoder

# Under other names than timm's: solo-learn builds them from timm's classes.
_NAMES = {
    **{f"vit_{size}": f"vit_{size}_patch16_224" for size in ("tiny", "small", "base", "large")},
    **{
        f"swin_{size}": f"swin_{size}_patch4_window7_224"
        for size in ("tiny", "small", "base", "large")
    },
}
# Settings of torchvision's ResNets that say nothing of the trained network.
_INITIAL = {"zero_init_residual"}
# By solo-learn's own choice on CIFAR.
_SWIN_WINDOW = {"window_size": 4}
_TOLERANCE = 1e-4


class NotInTimmError(ConfigurationError):
    """A backbone that timm cannot build; the text says in what it differs."""


class TimmTwin(NamedTuple):
    """A model of timm with a backbone's weights.

    Args:
        model: the model, without a classifier and in evaluation mode.
        settings: with which ``timm.create_model`` builds it, besides its name.
    """

    model: nn.Module
    settings: dict[str, Any]


def timm_twin(encoder: Encoder) -> TimmTwin:
    """Build the backbone by timm alone, and see whether it computes the same.

    Args:
        encoder: the network.

    Returns:
        The model.

    Raises:
        NotInTimmError: if timm has no such architecture, or one of other weights or other features.
    """
    block = encoder.config.backbone
    name = _NAMES.get(block.name, block.name.removeprefix("timm/"))
    kwargs: Any = OmegaConf.to_container(block.get("kwargs") or OmegaConf.create())
    if not timm.is_model(name):
        raise NotInTimmError(f"timm has no architecture {block.name!r}.")
    given = {key: value for key, value in kwargs.items() if key not in _INITIAL}
    tries = [given, {**given, **_SWIN_WINDOW}] if name.startswith("swin_") else [given]
    reasons = []
    for settings in tries:
        twin = timm.create_model(name, num_classes=0, **settings).eval()
        reason = _difference(encoder, twin)
        if reason is None:
            return TimmTwin(twin, settings)
        reasons.append(reason)
    raise NotInTimmError(f"timm's {name} is another network: {reasons[0]}.")


def data_config(encoder: Encoder) -> dict[str, Any]:
    """Describe the evaluation transform in timm's words.

    Args:
        encoder: the network.

    Returns:
        What ``timm.data.create_transform`` makes the same transform from.
    """
    size, (mean, std) = encoder.crop_size, encoder.normalization
    crops = DATASETS[encoder.config.data.dataset].image_folder
    return {
        "input_size": (3, size, size),
        "mean": tuple(mean),
        "std": tuple(std),
        "interpolation": INTERPOLATION.value,
        # timm rounds size / crop_pct down; half a pixel more is safe from rounding errors
        "crop_pct": size / (resized_side(size) + 0.5) if crops else 1.0,
        "crop_mode": "center" if crops else "squash",
    }


@torch.no_grad()
def _difference(encoder: Encoder, twin: nn.Module) -> str | None:
    """Load the backbone's weights into a model; say in what it differs, or None."""
    own, other = encoder.backbone.state_dict(), twin.state_dict()
    for name in sorted({*own, *other}):
        if name not in own or name not in other:
            return f"{name} is a weight of {'timm' if name in other else 'the run'} only"
        if own[name].shape != other[name].shape:
            return f"{name} is {tuple(own[name].shape)}, timm's is {tuple(other[name].shape)}"
    twin.load_state_dict(own)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, 3, encoder.crop_size, encoder.crop_size, generator=generator)
    wanted, found = encoder(images), twin(images)
    if wanted.shape != found.shape:
        return f"its features are {found.size(-1)}, not {wanted.size(-1)}"
    off = float((wanted - found).abs().max() / wanted.abs().max().clamp(min=1e-12))
    return None if off < _TOLERANCE else f"with the same weights its features differ by {off:.1e}"
