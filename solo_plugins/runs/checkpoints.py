# SPDX-License-Identifier: MIT
"""Writing checkpoints whole, reading them safely, and comparing their weights with a model's."""

__all__ = ["DurableCheckpointIO", "check_fits", "check_weights", "load_checkpoint", "stored"]

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from lightning.fabric.plugins.io import TorchCheckpointIO
from omegaconf import OmegaConf
from torch import Tensor, nn
from typing_extensions import override

from solo_plugins.errors import ConfigurationError
from solo_plugins.runs.files import write_bytes
from solo_plugins.runs.folder import RunFolder
from solo_plugins.untrusted.files import check_regular, reason_of

# torch has no error of its own for a file that is not a checkpoint.
_UNREADABLE = (
    OSError, pickle.UnpicklingError, EOFError, LookupError, RuntimeError, ValueError, TypeError,
    AttributeError, AssertionError, MemoryError, OverflowError, zipfile.BadZipFile,
)  # fmt: skip
_SHOWN = 20


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
    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint as :func:`load_checkpoint` does, whatever Lightning asks for."""
        return dict(load_checkpoint(Path(path)))

    @override
    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = RunFolder(path.parent)
        for state in checkpoint.get("optimizer_states", ()):
            _make_plain(state["param_groups"])

        def write(file: BinaryIO) -> None:
            try:
                torch.save(checkpoint, file)
            except RuntimeError as error:  # torch's words for a disk that takes no more
                raise OSError(str(error).partition("\n")[0]) from error

        keep = folder.previous_checkpoint if path == folder.last_checkpoint else None
        write_bytes(path, write, keep=keep)


def _make_plain(groups: list[dict[str, Any]]) -> None:
    """Replace what came from the configuration as OmegaConf's lists, which are not loaded."""
    for group in groups:
        found = {key: value for key, value in group.items() if OmegaConf.is_config(value)}
        group.update((key, OmegaConf.to_container(value)) for key, value in found.items())


def load_checkpoint(checkpoint: Path) -> Mapping[str, Any]:
    """Read a checkpoint without running code that it may contain.

    Args:
        checkpoint: a Lightning checkpoint, or a link to one.

    Returns:
        Its entries, ``state_dict`` among them, on the CPU.

    Raises:
        ConfigurationError: if it is no file, cannot be read, is packed, holds more than tensors and
            plain values, or its ``state_dict`` is none.
    """
    try:
        size = check_regular(checkpoint)
    except OSError as error:
        reason = reason_of(error)
        raise ConfigurationError(f"{str(checkpoint)!r} cannot be read: {reason}.") from error
    try:
        held = _bytes_of_tensors(checkpoint, size)
        saved = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        raise _unreadable(checkpoint, error) from error
    if not isinstance(saved, Mapping) or "state_dict" not in saved:
        keys = [str(key) for key in saved if isinstance(key, str | int)] if _maps(saved) else []
        found = ", ".join(keys[:_SHOWN]) or type(saved).__name__
        raise ConfigurationError(
            f"Expected a checkpoint with a `state_dict` but {str(checkpoint)!r} has {found}."
        )
    weights = saved["state_dict"]
    if not isinstance(weights, Mapping) or not all(isinstance(name, str) for name in weights):
        raise ConfigurationError(
            f"Expected the `state_dict` of {str(checkpoint)!r} to hold tensors by name but got a "
            f"{type(weights).__name__}{' with other keys' if _maps(weights) else ''}."
        )
    claimed = stored(weights)
    if claimed > held:
        what = f"its tensors say that they have {claimed} bytes, and it holds {held}"
        raise _unreadable(checkpoint, ValueError(what))
    return saved


def stored(weights: Mapping[str, Any]) -> int:
    """Measure what weights really have in memory.

    Args:
        weights: the saved weights by name.

    Returns:
        Bytes: an expanded tensor counts as what it was expanded from, a shared one once.

    Example:
        >>> stored({"a": torch.zeros(1).expand(1000), "b": torch.zeros(3)})
        16
    """
    return sum(_storages(weights).values())


def _storages(weights: Mapping[str, Any]) -> dict[int, int]:
    """Return the bytes of each storage by its place."""
    tensors = [weight for weight in weights.values() if isinstance(weight, Tensor)]
    storages = [
        weight.untyped_storage()
        for weight in tensors
        if weight.layout == torch.strided and weight.device.type == "cpu"
    ]
    return {storage.data_ptr(): storage.nbytes() for storage in storages}


def _bytes_of_tensors(checkpoint: Path, size: int) -> int:
    """Count what an archive holds for tensors; torch 2.6 does not compare it with their shapes.

    Raises:
        ValueError: if it unpacks to more than it is: torch stores everything as it is.
    """
    with checkpoint.open("rb") as file:
        if not zipfile.is_zipfile(file):
            return size  # torch's old form, which has no packing
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > size or any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise ValueError(f"it unpacks to {unpacked} bytes, and torch writes nothing packed")
    return sum(entry.file_size for entry in entries if "/data/" in entry.filename)


def _unreadable(checkpoint: Path, error: Exception) -> ConfigurationError:
    if isinstance(error, pickle.UnpicklingError) and zipfile.is_zipfile(checkpoint):
        what = (
            "of tensors and plain values. Other objects are not loaded, since they could run any "
            "code. If the file is your own, save its `state_dict` alone by "
            "torch.save({'state_dict': torch.load(path, weights_only=False)['state_dict']}, new)"
        )
    else:
        what = f"but it is damaged, or no checkpoint at all ({_size(checkpoint)} bytes)"
    reason = str(error).strip().partition("\n")[0][:300]
    return ConfigurationError(
        f"Expected {str(checkpoint)!r} to be a readable checkpoint {what}. torch says: {reason}"
    )


def _maps(value: Any) -> bool:
    return isinstance(value, Mapping)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def check_weights(weights: Mapping[str, Any], own: Mapping[str, Any], checkpoint: Path) -> None:
    """Compare names, shapes and kinds of saved weights with those of a model.

    Args:
        weights: the saved weights by name; what is no tensor does not fit.
        own: the model's weights by name.
        checkpoint: the file of the saved weights.

    Raises:
        ConfigurationError: listing what is missing, unknown, of another shape or of another kind,
            such as complex numbers or a sparse tensor.
    """
    problems = [f"missing {name}" for name in own if name not in weights]
    problems += [f"unknown {name}" for name in weights if name not in own]
    both = [(name, weights[name], own[name]) for name in own if name in weights]
    problems += [f"{name} is {found}" for name, *pair in both if (found := _differs(*pair))]
    if problems:
        shown = "; ".join(problems[:8]) + ("; ..." if len(problems) > 8 else "")
        raise ConfigurationError(
            f"Expected the weights of {str(checkpoint)!r} to fit this configuration's model but "
            f"{len(problems)} do not: {shown}."
        )


def _differs(weight: Any, own: Any) -> str:
    """Say what a weight is that cannot take the place of a model's own."""
    if not isinstance(own, Tensor):
        return ""  # a module's own matter
    if not isinstance(weight, Tensor):
        return f"a {type(weight).__name__}, not a tensor"
    if weight.layout != torch.strided or weight.device.type != "cpu" or weight.is_quantized:
        return f"a tensor of layout {weight.layout} on {weight.device}"
    if weight.shape != own.shape:
        return f"{tuple(weight.shape)}, not {tuple(own.shape)}"
    if weight.is_complex() or (own.is_floating_point() and not weight.is_floating_point()):
        return f"{weight.dtype}, not {own.dtype}"
    return ""
