# SPDX-License-Identifier: MIT
"""The class between the release's methods and its ``BaseMethod``."""

__all__ = ["Encoder"]

from functools import partial
from typing import Any

import torch
from omegaconf import DictConfig
from solo.methods.base import BaseMethod
from torch import Tensor, nn
from torch.optim import Optimizer
from typing_extensions import override

from solo_plugins.framework.backbones import timm_factory
from solo_plugins.framework.defaults import BASE, fill_defaults
from solo_plugins.framework.neighbours import WeightedKNNClassifier
from solo_plugins.framework.pypi.bridge.optimizer import configure

_MAIN_NAMES = {"encoder": "backbone", "momentum_encoder": "momentum_backbone"}


class Encoder(BaseMethod):
    """Adds any backbone, main's names, main's optimizers and the repaired kNN to a method.

    Args:
        cfg: main's configuration, with all defaults filled in.
        encoder: the backbone's name.
        **kwargs: the arguments of the release's own constructor.
    """

    def __init__(self, *, cfg: DictConfig, encoder: str, **kwargs: Any) -> None:
        if encoder in BaseMethod._SUPPORTED_ENCODERS:
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
            self.knn = WeightedKNNClassifier(
                k=cfg.knn_eval.k, distance_fx=cfg.knn_eval.distance_func
            )

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

    @staticmethod
    def add_and_assert_specific_cfg(cfg: DictConfig) -> DictConfig:
        """Fill in the defaults that all methods share.

        Args:
            cfg: the configuration, changed in place.

        Returns:
            The same configuration.
        """
        return fill_defaults(cfg, BASE)

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

    @override
    def base_forward(self, X: Tensor) -> dict[str, Tensor]:
        return super().base_forward(self._channels_last(X))

    def _channels_last(self, X: Tensor) -> Tensor:
        return X if self.no_channel_last else X.to(memory_format=torch.channels_last)

    @override
    def configure_optimizers(self) -> Optimizer | tuple[list[Optimizer], list[dict[str, Any]]]:
        return configure(self, self.learnable_params, (self.warmup_start_lr, self.min_lr))
