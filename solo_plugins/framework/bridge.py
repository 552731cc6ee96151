# SPDX-License-Identifier: MIT
"""The PyPI release of solo-learn, brought up to the interface of its main branch.

``METHODS[name](cfg)``, ``backbone`` in place of ``encoder``, Lightning 2's hooks, main's LARS and
per-step schedules. The classes of the release are subclassed, never changed. A method's bridged
class stands in front of it and :class:`_Encoder` directly in front of its ``BaseMethod``, so that
Python's method resolution order wraps the release from both sides::

    VICReg (bridged) -> VICReg -> _Encoder -> BaseMethod -> LightningModule
"""

__all__ = ["BaseMethod", "bridge_methods", "known_backbones", "online_knn"]

from collections.abc import Sequence
from functools import partial
from types import ModuleType
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor, nn
from torch.optim import Optimizer

from solo_plugins.framework.arguments import constructor_arguments, parser_defaults
from solo_plugins.framework.backbones import timm_backbones, timm_factory
from solo_plugins.framework.defaults import fill_base_defaults, fill_momentum_defaults
from solo_plugins.framework.hooks import adapt, fix_prototypes
from solo_plugins.framework.neighbours import repaired_knn
from solo_plugins.framework.optimizer import build_optimizer, build_scheduler
from solo_plugins.framework.release import import_solo

_SOLO: ModuleType = import_solo()

from solo.methods.base import BaseMethod as _LegacyBase  # noqa: E402
from solo.methods.base import BaseMomentumMethod as _LegacyMomentum  # noqa: E402
from solo.utils.knn import WeightedKNNClassifier as _SoloKNN  # noqa: E402

# Backbones that main has, this release has not and timm has under the same name.
_FROM_TIMM = (
    *(f"convnext_{size}" for size in ("tiny", "small", "base", "large")),
    *(f"poolformer_{size}" for size in ("s12", "s24", "s36", "m36", "m48")),
)
# The settings that every method of the release has; the others are its method_kwargs.
_SHARED = tuple(parser_defaults(_LegacyMomentum))
_MAIN_NAMES = {"encoder": "backbone", "momentum_encoder": "momentum_backbone"}

online_knn = repaired_knn(_SoloKNN)


class _Encoder(_LegacyBase):
    """What every method of the release gets: any backbone, main's names, optimizers and kNN.

    Args:
        cfg: main's configuration, with all defaults filled in.
        encoder: the backbone's name.
        **kwargs: the arguments of the release's own constructor.
    """

    def __init__(self, *, cfg: DictConfig, encoder: str, **kwargs: Any) -> None:
        if encoder in _LegacyBase._SUPPORTED_ENCODERS:
            super().__init__(encoder=encoder, **kwargs)
        else:
            self._init_with_timm(encoder, cfg, **kwargs)
        self.cfg = cfg
        self.backbone_name: str = cfg.backbone.name
        self.optimizer: str = cfg.optimizer.name
        self.no_channel_last: bool = cfg.performance.disable_channel_last
        self.validation_step_outputs: list[Any] = []
        self.knn_eval: bool = cfg.knn_eval.enabled
        if self.knn_eval:
            self.knn = online_knn(k=cfg.knn_eval.k, distance_fx=cfg.knn_eval.distance_func)

    def _init_with_timm(self, encoder: str, cfg: DictConfig, **kwargs: Any) -> None:
        factory = timm_factory(encoder.removeprefix("timm/"))
        # The release refuses a name that it does not know: it builds a small model of its own, on
        # a forked generator so that the weights that count are drawn as on main.
        with torch.random.fork_rng(devices=[]):
            super().__init__(encoder="resnet18", **{**kwargs, "backbone_args": {}})
        self.encoder_name = "timm"
        self.backbone_args = dict(cfg.backbone.kwargs)
        self.base_model = partial(factory, cfg.method)
        self.encoder = self.base_model(**self.backbone_args)
        self.features_dim = self.encoder.num_features
        self.classifier = nn.Linear(self.features_dim, self.num_classes)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(_MAIN_NAMES.get(name, name), value)

    @property
    def encoder(self) -> nn.Module:
        """The backbone, by the release's name; checkpoints carry main's."""
        return self.backbone

    @property
    def momentum_encoder(self) -> nn.Module:
        """The momentum backbone, by the release's name."""
        return self.momentum_backbone

    @property
    def learnable_params(self) -> list[dict[str, Any]]:
        """The release's parameter groups, by main's names."""
        groups = super().learnable_params
        names = (_MAIN_NAMES.get(group.get("name"), group.get("name")) for group in groups)
        return [
            {**group, "name": name} if name else group
            for group, name in zip(groups, names, strict=True)
        ]

    def base_forward(self, X: Tensor) -> dict[str, Tensor]:
        """Compute features and logits as the release does, in main's memory format.

        Args:
            X: images (N, C, H, W).

        Returns:
            ``feats`` (N, F) and ``logits`` (N, classes).
        """
        return super().base_forward(_channels_last(self, X))

    def configure_optimizers(self) -> Optimizer | tuple[list[Optimizer], list[dict[str, Any]]]:
        """Build main's optimizer and schedule.

        Returns:
            What Lightning expects.
        """
        optimizer = build_optimizer(self.learnable_params, self.cfg, self.lr)
        scheduler = build_scheduler(
            optimizer,
            self.cfg,
            rates=(self.warmup_start_lr, self.min_lr),
            steps_per_epoch=lambda: self.trainer.estimated_stepping_batches / self.max_epochs,
        )
        return optimizer if scheduler is None else ([optimizer], [scheduler])


class BaseMethod(_Encoder):
    """Main's ``BaseMethod`` on top of the PyPI release, to be subclassed by new methods.

    A subclass overrides ``forward``, which the training and validation steps go through, and
    ``multicrop_forward``; ``training_step`` returns lists of whatever these return.

    Args:
        cfg: main's configuration.
    """

    validation_epoch_end = None

    def __init__(self, cfg: DictConfig) -> None:
        cfg = self.add_and_assert_specific_cfg(cfg)
        super().__init__(cfg=cfg, **constructor_arguments(cfg, _LegacyBase, shared=()))

    @staticmethod
    def add_and_assert_specific_cfg(cfg: DictConfig) -> DictConfig:
        """Fill in the defaults that all methods share.

        Args:
            cfg: the configuration, changed in place.

        Returns:
            The same configuration.
        """
        return fill_base_defaults(cfg)

    def forward(self, X: Tensor) -> dict[str, Any]:
        """Compute backbone features and the online classifier's logits.

        Args:
            X: images (N, C, H, W).

        Returns:
            ``feats`` (N, F) and ``logits`` (N, classes).
        """
        return super().base_forward(X)

    def base_forward(self, X: Tensor) -> dict[str, Any]:
        """Send the release's shared step through the subclass's ``forward``.

        Args:
            X: images (N, C, H, W).

        Returns:
            What ``forward`` returns.
        """
        return self(X)

    def multicrop_forward(self, X: Tensor) -> dict[str, Any]:
        """Compute backbone features of small crops.

        Args:
            X: images (N, C, H, W).

        Returns:
            ``feats`` (N, F).
        """
        return {"feats": self.backbone(_channels_last(self, X))}

    def training_step(self, batch: Sequence[Any], batch_idx: int) -> dict[str, Any]:
        """Run all crops through the model and train the online classifier.

        Args:
            batch: indexes, a list of crops and targets.
            batch_idx: the number of the batch.

        Returns:
            ``loss`` of the classifier, and a list with an entry for each crop of every output.
        """
        index, crops, targets = batch
        crops = [crops] if isinstance(crops, Tensor) else crops
        large, small = crops[: self.num_large_crops], crops[self.num_large_crops :]
        # The release's step knows nothing but features of small crops: it is shown the large ones.
        expected, self.num_crops, self.multicrop = self.num_crops, len(large), False
        try:
            outs = super().training_step((index, large, targets), batch_idx)
        finally:
            self.num_crops, self.multicrop = expected, self.num_small_crops != 0
        for crop in small:
            for name, value in self.multicrop_forward(crop).items():
                outs.setdefault(name, []).append(value)
        return outs

    def validation_step(self, batch: Sequence[Tensor], batch_idx: int) -> dict[str, Any]:
        """Evaluate the online classifier and collect features for kNN.

        Args:
            batch: images and targets.
            batch_idx: the number of the batch.

        Returns:
            The batch's metrics.
        """
        metrics = super().validation_step(batch, batch_idx)
        self.validation_step_outputs.append(metrics)
        return metrics

    def on_validation_epoch_end(self) -> None:
        """Average and log the validation's metrics."""
        _LegacyBase.validation_epoch_end(self, self.validation_step_outputs)
        self.validation_step_outputs.clear()


def known_backbones() -> list[str]:
    """List the names that ``backbone.name`` may have.

    Returns:
        The release's own, those of main that timm has, and all of timm's.
    """
    return [*_LegacyBase._SUPPORTED_ENCODERS, *_FROM_TIMM, *timm_backbones()]


def bridge_methods() -> dict[str, type]:
    """Bridge every method of the release.

    Returns:
        Classes built from main's configuration, by the names of the release's ``METHODS``;
        ``linear`` is left out, it is no pretraining method.
    """
    bridged = {
        name: _bridge(legacy)
        for name, legacy in _SOLO.METHODS.items()
        if issubclass(legacy, _LegacyBase)
        and legacy is not _LegacyBase
        and not issubclass(legacy, _Encoder)  # written against main's interface
    }
    return {"base": BaseMethod, **bridged}


def _bridge(legacy: type) -> type:
    """Make main's version of one method of the release."""
    momentum = issubclass(legacy, _LegacyMomentum)

    class Bridged(legacy, _Encoder):  # type: ignore[misc,valid-type]
        __doc__ = legacy.__init__.__doc__
        # Lightning 2 refuses a model on which this can be called.
        validation_epoch_end = None

        def __init__(self, cfg: DictConfig) -> None:
            cfg = self.add_and_assert_specific_cfg(cfg)
            super().__init__(cfg=cfg, **constructor_arguments(cfg, legacy, shared=_SHARED))
            if legacy.__name__ == "SwAV":
                fix_prototypes(self.prototypes)

        @staticmethod
        def add_and_assert_specific_cfg(cfg: DictConfig) -> DictConfig:
            return fill_momentum_defaults(cfg) if momentum else fill_base_defaults(cfg)

        def validation_step(self, batch: Sequence[Tensor], batch_idx: int) -> None:
            self.validation_step_outputs.append(super().validation_step(batch, batch_idx))

        def on_validation_epoch_end(self) -> None:
            legacy.validation_epoch_end(self, self.validation_step_outputs)
            self.validation_step_outputs.clear()

    adapt(Bridged, legacy, momentum=momentum)
    Bridged.__name__ = Bridged.__qualname__ = legacy.__name__
    return Bridged


def _channels_last(method: Any, X: Tensor) -> Tensor:
    return X if method.no_channel_last else X.to(memory_format=torch.channels_last)
