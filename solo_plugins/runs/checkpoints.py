# SPDX-License-Identifier: MIT
"""Writing checkpoints whole, reading them safely, and comparing their weights with a model's."""

__all__ = ["DurableCheckpointIO", "check_fits", "check_weights", "load_checkpoint"]

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from lightning.fabric.plugins.io import TorchCheckpointIO
from torch import Tensor, nn
from typing_extensions import override

from solo_plugins.errors import ConfigurationError
from solo_plugins.runs.files import write_bytes
from solo_plugins.runs.folder import RunFolder


def check_fits(model: nn.Module, checkpoint: Path) -> None:
    """Compare a checkpoint's weights with the model's, before anything is trained.

    Args:
        model: the method.
        checkpoint: a Lightning checkpoint.

    Raises:
        ConfigurationError: listing what is missing, unknown or of another shape.
    """
    check_weights(load_checkpoint(checkpoint)["state_dict"], model.state_dict(), checkpoint)


class DurableCheckpointIO(TorchCheckpointIO):
    """Lightning's writing of checkpoints, whole or not at all, with the one before kept.

    Lightning writes to the temporary folder and, across file systems, copies from there, so that a
    kill or a full disk can leave a cut file as the only one.
    """

    @override
    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = RunFolder(path.parent)

        def write(file: BinaryIO) -> None:
            try:
                torch.save(checkpoint, file)
            except RuntimeError as error:  # torch's words for a disk that takes no more
                raise OSError(str(error).partition("\n")[0]) from error

        keep = folder.previous_checkpoint if path == folder.last_checkpoint else None
        write_bytes(path, write, keep=keep)


def load_checkpoint(checkpoint: Path) -> Mapping[str, Any]:
    """Read a checkpoint without running code that it may contain.

    Args:
        checkpoint: a Lightning checkpoint.

    Returns:
        Its entries, ``state_dict`` among them, on the CPU.

    Raises:
        ConfigurationError: if it cannot be read, or holds more than tensors and plain values.
    """
    try:
        saved = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, EOFError, LookupError, RuntimeError, ValueError) as error:
        # torch has no error of its own for a file that is not a checkpoint
        reason = str(error).strip().partition("\n")[0]
        what = (
            "of tensors and plain values. Other objects are not loaded, since they could run any "
            "code. If the file is your own, save its `state_dict` alone by "
            "torch.save({'state_dict': torch.load(path, weights_only=False)['state_dict']}, new)"
            if isinstance(error, pickle.UnpicklingError) and zipfile.is_zipfile(checkpoint)
            else f"but it is damaged, or no checkpoint at all ({_size(checkpoint)} bytes)"
        )
        raise ConfigurationError(
            f"Expected {str(checkpoint)!r} to be a readable checkpoint {what}. torch says: {reason}"
        ) from error
    if not isinstance(saved, Mapping) or "state_dict" not in saved:
        found = ", ".join(map(str, saved)) if isinstance(saved, Mapping) else type(saved).__name__
        raise ConfigurationError(
            f"Expected a checkpoint with a `state_dict` but {str(checkpoint)!r} has {found}."
        )
    return saved


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def check_weights(
    weights: Mapping[str, Tensor], own: Mapping[str, Tensor], checkpoint: Path
) -> None:
    """Compare names and shapes of saved weights with those of a model.

    Args:
        weights: the saved weights by name.
        own: the model's weights by name.
        checkpoint: the file of the saved weights.

    Raises:
        ConfigurationError: listing what is missing, unknown or of another shape.
    """
    problems = [f"missing {name}" for name in own if name not in weights]
    problems += [f"unknown {name}" for name in weights if name not in own]
    problems += [
        f"{name} is {tuple(weights[name].shape)}, not {tuple(own[name].shape)}"
        for name in own
        if name in weights and weights[name].shape != own[name].shape
    ]
    if problems:
        shown = "; ".join(problems[:8]) + ("; ..." if len(problems) > 8 else "")
        raise ConfigurationError(
            f"Expected the weights of {str(checkpoint)!r} to fit this configuration's model but "
            f"{len(problems)} do not: {shown}."
        )
