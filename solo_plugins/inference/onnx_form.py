# SPDX-License-Identifier: MIT
"""Backbone and projector as an ONNX file, by torch's exporter, compared in ONNX Runtime."""

__all__ = ["check_onnx", "missing_for_onnx", "write_onnx"]

import copy
import importlib.util
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from solo_plugins.errors import ConfigurationError
from solo_plugins.inference.encoder import Encoder
from solo_plugins.modules.activation import RepReLU

_NEEDED = ("onnx", "onnxscript", "onnxruntime")
_TOLERANCE = 1e-4


class _Both(nn.Module):
    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.backbone, self.projector = encoder.backbone, encoder.projector

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        features = self.backbone(images)
        return (features,) if self.projector is None else (features, self.projector(features))


def missing_for_onnx() -> list[str]:
    """List the packages of the extra ``export`` that are not installed."""
    return [name for name in _NEEDED if importlib.util.find_spec(name) is None]


def write_onnx(encoder: Encoder, path: Path) -> None:
    """Write the network, with input ``images`` and outputs ``features`` and ``codes``.

    Args:
        encoder: the network; without a projector there are no ``codes``. The number of images is
            free, their size is that of the evaluation transform.
        path: the file.

    Raises:
        ConfigurationError: if torch's exporter cannot carry the network, or what it wrote computes
            something else.
    """
    images = torch.zeros(2, 3, encoder.crop_size, encoder.crop_size)
    names = ["features"] if encoder.projector is None else ["features", "codes"]
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # the exporter's own, of its dependencies
            torch.onnx.export(
                _plain(encoder),
                (images,),
                path,
                input_names=["images"],
                output_names=names,
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim("N", min=1)},),
                external_data=False,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        raise ConfigurationError(
            f"Expected a network that torch's ONNX exporter can carry but {_line(error)} "
            "`--no-onnx` leaves the file out."
        ) from error
    check_onnx(encoder, path)


@torch.no_grad()
def check_onnx(encoder: Encoder, path: Path) -> None:
    """Compare a file's outputs with the network's, on images of noise.

    Args:
        encoder: the network.
        path: the file.

    Raises:
        ConfigurationError: if they differ by more than 1e-4 of the largest.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    generator = torch.Generator().manual_seed(0)
    for count in (1, 3):
        images = torch.randn(count, 3, encoder.crop_size, encoder.crop_size, generator=generator)
        wanted = _Both(encoder)(images)
        found: Any = session.run(None, {"images": images.numpy()})
        for name, ours, theirs in zip(("features", "codes"), wanted, found, strict=False):
            off = float(np.abs(ours.numpy() - theirs).max() / max(1.0, float(ours.abs().max())))
            if not off <= _TOLERANCE:
                raise ConfigurationError(
                    f"Expected ONNX Runtime to give the network's {name} to {_TOLERANCE:g} but "
                    f"they differ by {off:.1e}. `--no-onnx` leaves the file out."
                )


def _plain(encoder: Encoder) -> nn.Module:
    """Copy the network, with a ReLU where only the gradient is another one."""
    both = copy.deepcopy(_Both(encoder))
    for module in list(both.modules()):
        for name, child in module.named_children():
            if isinstance(child, RepReLU):
                setattr(module, name, nn.ReLU())
    return both.eval()


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
