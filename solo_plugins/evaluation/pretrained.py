# SPDX-License-Identifier: MIT
"""Finding a pretrained checkpoint with its configuration, and building its network from both.

Three writers are known: this plugin (``config.yaml`` beside ``last.ckpt``), solo-learn's main
branch and the reference implementation (``args.json`` beside ``<name>-ep=<epoch>.ckpt``).
"""

__all__ = ["Pretrained", "build", "find_pretrained", "settle_backbone"]

import dataclasses
import difflib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from lightning.pytorch import LightningModule
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from solo_plugins.errors import ConfigurationError, one_of
from solo_plugins.framework import METHODS, known_backbones, projector_name
from solo_plugins.resume import check_weights, load_checkpoint
from solo_plugins.schema import DEFAULTS

_KEY = "pretrained_feature_extractor"
_FOREIGN = "args.json"
# What solo-learn's methods read when they are built and evaluation has no use for.
_UNUSED = {
    "method": "base",
    "max_epochs": 1,
    "accumulate_grad_batches": 1,
    "data": {"num_large_crops": 2, "num_small_crops": 0},
    "optimizer": {
        "name": "sgd",
        "batch_size": 256,
        "lr": 0.0,
        "classifier_lr": 0.0,
        "weight_decay": 0.0,
    },
    "scheduler": {"name": "none"},
}


class Pretrained(NamedTuple):
    """A checkpoint and what is known about the run that wrote it.

    Args:
        checkpoint: the file.
        cfg: the run's resolved configuration, or None if none lies beside the checkpoint.
        source: where `cfg` was read, or None.
    """

    checkpoint: Path
    cfg: DictConfig | None
    source: Path | None

    @property
    def folder(self) -> Path:
        """The run's folder, which results are written to."""
        return self.checkpoint.parent


def find_pretrained(path: Any) -> Pretrained:
    """Find the checkpoint that ``pretrained_feature_extractor`` means, and its configuration.

    Args:
        path: a checkpoint or a run's folder, of which ``last.ckpt`` counts or else the newest.

    Returns:
        Both.

    Raises:
        ConfigurationError: if there is no checkpoint, or its configuration is none of a
            pretraining run.
    """
    checkpoint = _checkpoint(path)
    for name in ("config.yaml", _FOREIGN):
        source = checkpoint.parent / name
        if source.is_file():
            return Pretrained(checkpoint, _read(source), source)
    return Pretrained(checkpoint, None, None)


def settle_backbone(cfg: DictConfig, pretrained: Pretrained) -> None:
    """Fill in the backbone from the pretraining run, or check that the YAML says the same.

    Args:
        cfg: the evaluation's configuration with defaults; ``backbone`` is changed in place.
        pretrained: the checkpoint.

    Raises:
        ConfigurationError: if both say something and differ, or neither says anything.
    """
    given = cfg.backbone
    if pretrained.cfg is None:
        if given.name is None:
            raise ConfigurationError(
                "Expected `backbone.name` to be set, there is no config.yaml or args.json beside "
                f"{str(pretrained.checkpoint)!r} to take it from, but got None."
            )
        return
    run = pretrained.cfg.backbone
    settings: dict[str, Any] = {"name": given.name} if given.name is not None else {}
    settings |= {f"kwargs.{name}": value for name, value in given.kwargs.items()}
    for name, value in settings.items():
        trained = OmegaConf.select(run, name)
        if value != trained:
            raise ConfigurationError(
                f"Expected `backbone.{name}` to be that of the checkpoint, {trained!r} in "
                f"{str(pretrained.source)!r}, but got {value!r}; leave it out."
            )
    cfg.backbone = run.copy()


def build(pretrained: Pretrained, cfg: DictConfig, *, projector: bool) -> LightningModule:
    """Build the pretrained network and load its weights, all of them or none.

    Classifiers, predictors and momentum networks are not loaded: without the projector it is
    enough that the backbone fits.

    Args:
        pretrained: the checkpoint.
        cfg: the evaluation's configuration; its ``backbone`` and ``data`` count if the checkpoint
            has no configuration.
        projector: whether the projector is needed.

    Returns:
        The method in evaluation mode, or solo-learn's base method if only the backbone is needed.

    Raises:
        ConfigurationError: if the weights do not fit, or there is no projector to be had.
    """
    settings = _settings(pretrained, cfg)
    if projector and pretrained.cfg is None:
        raise ConfigurationError(
            "Expected a config.yaml or args.json beside the checkpoint, which the projector's "
            f"widths stand in, but {str(pretrained.folder)!r} has none; its backbone can be "
            "evaluated by `features: backbone`."
        )
    if projector and settings.method not in METHODS:
        raise one_of(f"method (in {pretrained.source})", settings.method, sorted(METHODS))
    # The base method's backbone is the same: its factory is told the method's name.
    model: LightningModule = METHODS[settings.method if projector else "base"](settings)
    parts = ["backbone"]
    if projector:
        parts.append(projector_name(model))
    weights = _main_names(load_checkpoint(pretrained.checkpoint)["state_dict"])
    own = {
        f"{part}.{name}": value
        for part in parts
        for name, value in getattr(model, part).state_dict().items()
    }
    given = {name: value for name, value in weights.items() if name.partition(".")[0] in parts}
    check_weights(given, own, pretrained.checkpoint)
    for part in parts:
        module: nn.Module = getattr(model, part)
        prefix = f"{part}."
        module.load_state_dict(
            {name[len(prefix) :]: given[name] for name in given if name.startswith(prefix)}
        )
    return model.eval()


def _settings(pretrained: Pretrained, cfg: DictConfig) -> DictConfig:
    """Complete the configuration that the method is built from."""
    if pretrained.cfg is not None:
        given = pretrained.cfg
    else:
        given = OmegaConf.create({"backbone": cfg.backbone, "data": cfg.data})
    if given.backbone.name not in known_backbones():
        raise one_of("backbone.name", given.backbone.name, _own_backbones())
    settings: Any = OmegaConf.merge(DEFAULTS, _UNUSED, given)
    OmegaConf.set_struct(settings, False)
    settings.knn_eval.enabled = False
    own = getattr(METHODS.get(settings.method), "settings_class", None)
    if own is not None:
        # No weight depends on settings that the reference has for its own logs, nor on those that
        # earlier commits of this plugin had.
        known = {field.name for field in dataclasses.fields(own)}
        given = settings.method_kwargs
        settings.method_kwargs = {name: given[name] for name in given if name in known}
    return settings


def _own_backbones() -> list[str]:
    own = [name for name in known_backbones() if not name.startswith("timm/")]
    return [*own, "timm/<architecture>"]


def _main_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename what solo-learn called an encoder until 1.0.5."""
    return {
        "backbone." + name.removeprefix("encoder.") if name.startswith("encoder.") else name: value
        for name, value in weights.items()
    }


def _checkpoint(path: Any) -> Path:
    if path is None or str(path) == "None":  # written so in solo-learn's own YAMLs
        raise ConfigurationError(f"Expected `{_KEY}` to be a checkpoint or a run's folder.")
    found = Path(path)
    if found.is_file():
        return found.resolve()
    if not found.is_dir():
        near = difflib.get_close_matches(str(found), map(str, found.parent.glob("*")), n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ConfigurationError(
            f"Expected `{_KEY}` to be a checkpoint or a run's folder that exists but got "
            f"{str(path)!r}.{hint}"
        )
    last = found / "last.ckpt"
    checkpoints = sorted(found.glob("*.ckpt"), key=lambda file: file.stat().st_mtime)
    if not checkpoints:
        held = ", ".join(sorted(file.name for file in found.iterdir())) or "nothing"
        raise ConfigurationError(
            f"Expected `{_KEY}` to be a run's folder with a checkpoint but {str(path)!r} holds "
            f"{held}."
        )
    return (last if last.is_file() else checkpoints[-1]).resolve()


def _read(source: Path) -> DictConfig:
    try:
        text = source.read_text()
        cfg = OmegaConf.create(json.loads(text) if source.suffix == ".json" else text)
    except ValueError as error:  # of json; YAML's own is below
        raise ConfigurationError(f"Expected {str(source)!r} to be JSON but: {error}") from error
    missing = [
        key
        for key in ("method", "backbone.name", "data.dataset", "data.num_classes", "augmentations")
        if OmegaConf.select(cfg, key) is None
    ]
    if missing:
        raise ConfigurationError(
            f"Expected {str(source)!r} to be the configuration of a pretraining run but it has no "
            f"`{missing[0]}`."
        )
    return cfg  # type: ignore[return-value]
