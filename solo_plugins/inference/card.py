# SPDX-License-Identifier: MIT
"""The model card of an exported network, from the run's own files."""

__all__ = ["write_card"]

from pathlib import Path

from solo_plugins.inference.encoder import Encoder
from solo_plugins.report.read import KNN, Incomplete, RunRecord, read_run
from solo_plugins.runs.files import write_text
from solo_plugins.runs.folder import RunFolder
from solo_plugins.untrusted.text import markdown

_PROBES = {
    "linear_backbone": "linear probe on features",
    "linear_projector": "linear probe on codes",
    "knn_backbone": f"kNN (k = {KNN['k']}) on features",
    "knn_projector": f"kNN (k = {KNN['k']}) on codes",
    "online_backbone": "online probe on features",
    "online_projector": "online probe on codes",
}
_TIMM = """\
```python
import timm
model = timm.create_model("local-dir:DIR", pretrained=True, num_classes=0).eval()
transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
```

DIR is this folder; `model(images)` gives features.
"""
_TORCHVISION = """\
timm cannot build this backbone: {reason} It is torchvision's {name}{stem}:

```python
import torch, torchvision
from safetensors.torch import load_file
model = torchvision.models.{name}()
model.fc = torch.nn.Identity()
{lines}model.load_state_dict(load_file("DIR/model.safetensors"))
model.eval()
```

DIR is this folder; `model(images)` gives features. Images are RGB, resized to {size} x {size}, in
[0, 1], less the mean {mean}, divided by {std}.
"""
_STEM = """\
model.conv1 = torch.nn.Conv2d(3, 64, kernel_size=3, stride=1, padding=2, bias=False)
model.maxpool = torch.nn.Identity()
"""
_OTHER = "timm cannot build this backbone: {reason} `solo_plugins.load` and `model.onnx` can.\n"
_ONNX = """\
`model.onnx` takes `images` (N, 3, {size}, {size}) and gives {outputs}.
"""


def write_card(encoder: Encoder, folder: Path, *, not_timm: str | None, onnx: bool) -> None:
    """Write ``README.md``.

    Args:
        encoder: the network.
        folder: where to.
        not_timm: why timm cannot build the backbone, or None.
        onnx: whether there is ``model.onnx``.
    """
    cfg = encoder.config
    lines = [
        *([] if not_timm is not None else ["---", "library_name: timm", "---", ""]),
        f"# {markdown(cfg.backbone.name)}, pretrained by {markdown(cfg.method)} on "
        f"{markdown(cfg.data.dataset)}",
        "",
        "## Use",
        "",
        _usage(encoder, not_timm),
    ]
    if onnx:
        both = "`features`" if encoder.projector is None else "`features` and `codes`"
        lines.append(_ONNX.format(size=encoder.crop_size, outputs=both))
    lines += ["## Trained", "", *_facts(encoder)]
    write_text(folder / "README.md", "\n".join(lines).rstrip() + "\n")


def _usage(encoder: Encoder, not_timm: str | None) -> str:
    name = encoder.config.backbone.name
    if not_timm is None:
        return _TIMM
    if type(encoder.backbone).__module__.partition(".")[0] != "torchvision":
        return _OTHER.format(reason=not_timm)
    small = encoder.backbone.state_dict()["conv1.weight"].size(-1) == 3
    mean, std = (", ".join(f"{value:g}" for value in values) for values in encoder.normalization)
    return _TORCHVISION.format(
        reason=not_timm,
        name=name,
        stem=" with solo-learn's stem for small images" if small else "",
        lines=_STEM if small else "",
        size=encoder.crop_size,
        mean=mean,
        std=std,
    )


def _facts(encoder: Encoder) -> list[str]:
    cfg = encoder.config
    facts = {
        "data": str(cfg.data.dataset),
        "method": str(cfg.method),
        "image size": f"{encoder.crop_size} pixels",
        "checkpoint": encoder.checkpoint.name,
    }
    folder = RunFolder(encoder.checkpoint.parent)
    if not folder.stands_for(encoder.checkpoint):
        facts["results"] = "none: those of the run are of its last checkpoint"
        return _table(facts)
    try:
        facts |= _results(read_run(folder.path))
    except Incomplete as reason:
        facts["results"] = f"none: {reason}"
    return _table(facts)


def _table(facts: dict[str, str]) -> list[str]:
    return [
        "| | |",
        "| --- | --- |",
        *(f"| {key} | {markdown(value)} |" for key, value in facts.items()),
    ]


def _results(run: RunRecord) -> dict[str, str]:
    numbers, target = run.numbers, run.description.target
    found = {"epochs": str(run.epochs), "commit": str(run.commit or "unknown")}
    if target is None:
        found["target"] = "none"
    else:
        kind = "rectified" if target.rectified else "dense"
        found["target"] = f"{kind}, p = {target.p:g}, mu = {target.loc:.4g}, {target.l0:.3f} active"
    active = numbers.get("l0")
    found["active fraction of codes"] = "not measured" if active is None else f"{active.value:.3f}"
    for column, text in _PROBES.items():
        if column in numbers:
            number = numbers[column]
            found[text] = f"{number.value:.2f} % {number.mark}".rstrip()
    if not any(column in numbers for column in _PROBES):
        found["probes"] = "not run"
    return found
