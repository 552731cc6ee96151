# SPDX-License-Identifier: MIT
"""Building the pretrained network from a checkpoint and its configuration."""

__all__ = ["build"]

from collections.abc import Mapping
from typing import Any

from lightning.pytorch import LightningModule
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import Tensor, nn

from solo_plugins.args.pretrain import DEFAULTS
from solo_plugins.errors import ConfigurationError, one_of
from solo_plugins.framework import METHODS, has_projector, known_backbones, projector_name
from solo_plugins.framework.bounded import bounded
from solo_plugins.runs.checkpoints import check_weights, load_checkpoint, stored
from solo_plugins.runs.folder import RunFolder
from solo_plugins.runs.pretrained import Pretrained

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

# What a method has beside its checkpoint's weights: momentum networks, queues, diagnostics.
_TIMES, _MORE = 4, 2**29
# What solo-learn's, timm's and torchvision's constructors raise for settings that cannot be.
_REFUSALS = (
    ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError, RuntimeError,
    TypeError, ValueError, OmegaConfBaseException,
)  # fmt: skip


def build(pretrained: Pretrained, cfg: DictConfig, *, projector: bool | None) -> LightningModule:
    """Build the pretrained network and load its weights, all of them or none.

    Classifiers, predictors and momentum networks are not loaded: without the projector it is
    enough that the backbone fits.

    Args:
        pretrained: the checkpoint.
        cfg: the evaluation's configuration; its ``backbone`` and ``data`` count if the checkpoint
            has no configuration.
        projector: whether the projector is needed; None takes it if the method has one.

    Returns:
        The method in evaluation mode, or solo-learn's base method if only the backbone is needed.

    Raises:
        ConfigurationError: if the network cannot be built, is much larger than the checkpoint, or
            the weights do not fit, or there is no projector to be had.
    """
    settings = _settings(pretrained, cfg)
    if projector is not False and pretrained.cfg is None:
        raise ConfigurationError(
            f"Expected a {RunFolder.CONFIGS} beside the checkpoint, which the projector's "
            f"widths stand in, but {str(pretrained.folder)!r} has none; its backbone can be "
            "evaluated by `features: backbone`."
        )
    if projector is not False and settings.method not in METHODS:
        raise one_of(f"method (in {pretrained.source})", settings.method, sorted(METHODS))
    saved = load_checkpoint(pretrained.checkpoint)["state_dict"]
    # The base method's backbone is the same: its factory is told the method's name.
    name = "base" if projector is False else settings.method
    model = _built(name, settings, pretrained, stored(saved))
    parts = ["backbone"]
    if projector or (projector is None and has_projector(model)):
        parts.append(projector_name(model))
    weights = _main_names(saved)
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


def _built(
    name: str, settings: DictConfig, pretrained: Pretrained, num_bytes: int
) -> LightningModule:
    """Build a method, which is not much larger than the checkpoint that its weights come from."""
    try:
        with bounded(_TIMES * num_bytes + _MORE):
            return METHODS[name](settings)
    except _REFUSALS as error:
        where = f"in {str(pretrained.source)!r}" if pretrained.source else "given"
        text = " ".join(str(error).split())[:300] or type(error).__name__
        raise ConfigurationError(
            f"Expected the configuration {where} to be that of {str(pretrained.checkpoint)!r}, "
            f"with {num_bytes} bytes of weights, but it cannot be built: {text}"
            f"{'' if text.endswith('.') else '.'}"
        ) from error


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
        known = own.model_fields
        kwargs = settings.method_kwargs or {}
        settings.method_kwargs = {name: kwargs[name] for name in kwargs if name in known}
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
