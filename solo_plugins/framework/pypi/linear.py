# SPDX-License-Identifier: MIT
"""The linear model of solo-learn's PyPI release, by main's interface.

It is built from a configuration and has fine-tuning, mixup, main's optimizers and schedules and
Lightning 2's hooks.
"""

__all__ = ["LinearModel"]

from collections.abc import Callable, Sequence
from typing import Any

import torch
from omegaconf import DictConfig
from solo.methods.linear import LinearModel as SoloLinearModel
from torch import Tensor, nn
from torch.optim import Optimizer
from typing_extensions import override

from solo_plugins.errors import ConfigurationError
from solo_plugins.framework.defaults import LINEAR, fill_defaults
from solo_plugins.framework.linear_step import LinearStep
from solo_plugins.framework.pypi.bridge.hooks import Validation
from solo_plugins.framework.pypi.bridge.optimizer import configure


class LinearModel(Validation, LinearStep, SoloLinearModel):
    """The PyPI release's linear model with main's constructor.

    Args:
        backbone: the network under the classifier.
        cfg: main's configuration.
        loss_func: the loss in training; the cross-entropy if there is none.
        mixup_func: mixes images and targets in training, if there is one.
    """

    def __init__(
        self,
        backbone: nn.Module,
        cfg: DictConfig,
        loss_func: Callable[[Tensor, Tensor], Tensor] | None = None,
        mixup_func: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None,
    ) -> None:
        cfg = self.add_and_assert_specific_cfg(cfg)
        super().__init__(
            backbone,
            num_classes=cfg.data.num_classes,
            max_epochs=cfg.max_epochs,
            batch_size=cfg.optimizer.batch_size,
            optimizer=cfg.optimizer.name,
            lars=cfg.optimizer.name == "lars",
            lr=cfg.optimizer.lr,
            weight_decay=cfg.optimizer.weight_decay,
            exclude_bias_n_norm=False,
            extra_optimizer_args={},
            scheduler=cfg.scheduler.name,
            lr_decay_steps=cfg.scheduler.lr_decay_steps,
        )
        self.cfg = cfg
        self.finetune: bool = cfg.finetune
        self.no_channel_last: bool = cfg.performance.disable_channel_last
        self.mixup_func = mixup_func
        self.loss_func = loss_func or nn.CrossEntropyLoss()
        self.validation_step_outputs: list[dict[str, Any]] = []
        if self.finetune:  # the release always freezes
            self.backbone.requires_grad_(True)

    @staticmethod
    def add_and_assert_specific_cfg(cfg: DictConfig) -> DictConfig:
        """Fill in main's defaults.

        Args:
            cfg: the configuration, changed in place.

        Returns:
            The same configuration.

        Raises:
            ConfigurationError: if layers are to have rates of their own, which only main can.
        """
        cfg = fill_defaults(cfg, LINEAR)
        if cfg.optimizer.layer_decay:
            raise ConfigurationError(
                "Expected `optimizer.layer_decay` to be 0 with solo-learn 1.0.2, it needs main, "
                f"but got {cfg.optimizer.layer_decay}."
            )
        return cfg

    @override
    def forward(self, X: Tensor) -> dict[str, Tensor]:
        if not self.no_channel_last:
            X = X.to(memory_format=torch.channels_last)
        with torch.set_grad_enabled(self.finetune and torch.is_grad_enabled()):
            feats = self.backbone(X)
        return {"logits": self.classifier(feats), "feats": feats}

    @override
    def configure_optimizers(self) -> Optimizer | tuple[list[Optimizer], list[dict[str, Any]]]:
        groups = [{"name": "classifier", "params": self.classifier.parameters()}]
        if self.finetune:
            groups.insert(0, {"name": "backbone", "params": self.backbone.parameters()})
        scheduler = self.cfg.scheduler
        return configure(self, groups, (scheduler.warmup_start_lr, scheduler.min_lr))

    @override
    def training_step(self, batch: Sequence[Tensor], batch_idx: int) -> Tensor:
        if not self.finetune:
            self.backbone.eval()
        out = self.shared_step(batch, batch_idx)
        log = {f"train_{name}": value for name, value in out.items() if name != "batch_size"}
        self.log_dict(log, on_epoch=True, sync_dist=True)
        return out["loss"]

    @override
    def validation_step(self, batch: Sequence[Tensor], batch_idx: int) -> None:
        out = self.shared_step(batch, batch_idx)
        metrics = {f"val_{name}": out[name] for name in ("loss", "acc1", "acc5")}
        self.validation_step_outputs.append(metrics | {"batch_size": out["batch_size"]})
