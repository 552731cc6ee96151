# SPDX-License-Identifier: MIT
"""Files by which other programs load a pretrained network: timm's form, ONNX, a model card."""

__all__ = ["Exported", "export"]

from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import OmegaConf
from safetensors.torch import save_file
from timm.models import save_for_hf

from solo_plugins.errors import ConfigurationError
from solo_plugins.inference.card import write_card
from solo_plugins.inference.encoder import Encoder, load
from solo_plugins.inference.onnx_form import missing_for_onnx, write_onnx
from solo_plugins.inference.timm_form import NotInTimmError, data_config, timm_twin
from solo_plugins.runs.files import whole_folder, write_json
from solo_plugins.runs.writable import check_writable

# What timm's configuration of an architecture says of weights that timm has for it.
_OF_TIMMS_WEIGHTS = ("tag", "license", "origin_url", "paper_ids", "paper_name", "notes")


class Exported(NamedTuple):
    """What an export has left.

    Args:
        folder: where it is.
        notes: what is left out and why, a line each.
    """

    folder: Path
    notes: list[str]


def export(path: str | Path, out: str | Path, *, onnx: bool | None = None) -> Exported:
    """Write a network's backbone and projector for programs without this package.

    ``model.safetensors`` and ``config.json`` are the backbone in timm's form if timm has the same
    architecture, which is tried out; otherwise they have the backbone's own names and say so.
    ``projector.safetensors`` holds the projector's weights, ``README.md`` is the model card.

    Args:
        path: as for :func:`~solo_plugins.load`.
        out: the folder, made whole or not at all.
        onnx: whether to write ``model.onnx``; None does if the extra ``export`` is installed.

    Returns:
        The folder, and what is left out.

    Raises:
        ConfigurationError: if the network cannot be loaded, the folder holds something, or the
            ONNX file that was asked for cannot be had.
    """
    missing = missing_for_onnx()
    if onnx and missing:
        raise ConfigurationError(
            f"Expected {', '.join(missing)} to be installed for an ONNX file: "
            "pip install 'solo_plugins[export]'."
        )
    check_writable(out, "out")
    encoder = load(path)
    notes = []
    with whole_folder(Path(out)) as folder:
        not_timm = _write_backbone(encoder, folder)
        if not_timm:
            notes.append(f"Not in timm's form: {not_timm} README.md says how to load it.")
        if encoder.projector is not None:
            save_file(_tensors(encoder.projector), folder / "projector.safetensors")
        if onnx is not False and not missing:
            write_onnx(encoder, folder / "model.onnx")
        elif onnx is None:
            notes.append(
                f"No ONNX file: {', '.join(missing)} not installed, "
                "pip install 'solo_plugins[export]' has them."
            )
        has_onnx = (folder / "model.onnx").exists()
        write_card(encoder, folder, not_timm=not_timm, onnx=has_onnx)
        mode = (folder / "README.md").stat().st_mode
        for file in folder.iterdir():
            file.chmod(mode)  # safetensors lets nobody else read its files
    return Exported(Path(out), notes)


def _write_backbone(encoder: Encoder, folder: Path) -> str | None:
    """Write weights and configuration; return why they are not in timm's form, or None."""
    try:
        twin = timm_twin(encoder)
    except NotInTimmError as reason:
        save_file(_tensors(encoder.backbone), folder / "model.safetensors")
        block: Any = OmegaConf.to_container(encoder.config.backbone)
        content = {
            "architecture": f"{type(encoder.backbone).__module__}:{block['name']}",
            "not_in_timm": str(reason),
            "model_args": block.get("kwargs") or {},
            "pretrained_cfg": data_config(encoder),
        }
        write_json(folder / "config.json", content)
        return str(reason)
    # timm's own weights of this architecture are not these, nor is their licence
    own = dict(getattr(twin.model, "pretrained_cfg", None) or {})
    model: Any = twin.model
    model.pretrained_cfg = {key: own[key] for key in own if key not in _OF_TIMMS_WEIGHTS}
    save_for_hf(
        model,
        str(folder),
        model_args=twin.settings,
        safe_serialization=True,
        data_config=data_config(encoder),
    )
    return None


def _tensors(module: Any) -> dict[str, Any]:
    return {name: value.contiguous() for name, value in module.state_dict().items()}
