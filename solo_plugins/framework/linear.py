# SPDX-License-Identifier: MIT
"""solo-learn's ``LinearModel``, by main's interface on both releases.

On main it is main's own with one step replaced; the PyPI release's is brought up to it: built from
a configuration, fine-tuning, mixup, main's optimizers and schedules, Lightning 2's hooks.
"""

__all__ = ["LinearModel"]

from collections.abc import Callable, Sequence
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from solo_plugins.errors import ConfigurationError
from solo_plugins.framework.defaults import fill_linear_defaults
from solo_plugins.framework.optimizer import build_optimizer, build_scheduler
from solo_plugins.framework.release import import_solo, release

import_solo()

from solo.methods.linear import LinearModel as _SoloLinear  # noqa: E402
from solo.utils.metrics import accuracy_at_k  # noqa: E402

LossFunction = Callable[[Tensor, Tensor], Tensor]
MixupFunction = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class _Step(_SoloLinear):
    """A step that smooths labels without mixup too, and knows data sets of less than 5 classes.

    Main takes ``loss_func`` for mixed images only, so that its ``label_smoothing`` alone has no
    effect, and asks for the top 5 of any number of classes.
    """

    def shared_step(self, batch: Sequence[Tensor], batch_idx: int) -> dict[str, Any]:
        """Compute what training and validation steps share.

        Args:
            batch: images (N, C, H, W) and targets (N,).
            batch_idx: the number of the batch.

        Returns:
            ``batch_size``, ``loss`` and ``acc1`` and ``acc5`` in percent, unless images were mixed.
        """
        X, targets = batch
        metrics: dict[str, Any] = {"batch_size": len(X)}
        if self.training and self.mixup_func is not None:
            X, targets = self.mixup_func(X, targets)
            return metrics | {"loss": self.loss_func(self(X)["logits"], targets)}
        logits = self(X)["logits"]
        loss = self.loss_func if self.training else F.cross_entropy
        acc1, acc5 = accuracy_at_k(logits, targets, top_k=(1, min(5, logits.size(1))))
        return metrics | {"loss": loss(logits, targets), "acc1": acc1, "acc5": acc5}


class _Bridged(_Step):
    """The PyPI release's linear model with main's constructor."""

    # Lightning 2 refuses a model on which this can be called.
    validation_epoch_end = None

    def __init__(
        self,
        backbone: nn.Module,
        cfg: DictConfig,
        loss_func: LossFunction | None = None,
        mixup_func: MixupFunction | None = None,
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
        self.loss_func: LossFunction = loss_func or nn.CrossEntropyLoss()
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
        cfg = fill_linear_defaults(cfg)
        if cfg.optimizer.layer_decay:
            raise ConfigurationError(
                "Expected `optimizer.layer_decay` to be 0 with solo-learn 1.0.2, it needs main, "
                f"but got {cfg.optimizer.layer_decay}."
            )
        return cfg

    def forward(self, X: Tensor) -> dict[str, Tensor]:
        """Compute features, without gradient unless they are fine-tuned, and logits.

        Args:
            X: images (N, C, H, W).

        Returns:
            ``feats`` (N, F) and ``logits`` (N, classes).
        """
        if not self.no_channel_last:
            X = X.to(memory_format=torch.channels_last)
        with torch.set_grad_enabled(self.finetune and torch.is_grad_enabled()):
            feats = self.backbone(X)
        return {"logits": self.classifier(feats), "feats": feats}

    def configure_optimizers(self) -> Optimizer | tuple[list[Optimizer], list[dict[str, Any]]]:
        """Build main's optimizer and schedule.

        Returns:
            What Lightning expects.
        """
        groups = [{"name": "classifier", "params": self.classifier.parameters()}]
        if self.finetune:
            groups.insert(0, {"name": "backbone", "params": self.backbone.parameters()})
        optimizer = build_optimizer(groups, self.cfg, self.lr)
        scheduler = build_scheduler(
            optimizer,
            self.cfg,
            rates=(self.cfg.scheduler.warmup_start_lr, self.cfg.scheduler.min_lr),
            steps_per_epoch=lambda: self.trainer.estimated_stepping_batches / self.max_epochs,
        )
        return optimizer if scheduler is None else ([optimizer], [scheduler])

    def training_step(self, batch: Sequence[Tensor], batch_idx: int) -> Tensor:
        """Train the classifier, and the backbone if it is fine-tuned, on one batch.

        Args:
            batch: images (N, C, H, W) and targets (N,).
            batch_idx: the number of the batch.

        Returns:
            The loss.
        """
        if not self.finetune:
            self.backbone.eval()
        out = self.shared_step(batch, batch_idx)
        log = {f"train_{name}": value for name, value in out.items() if name != "batch_size"}
        self.log_dict(log, on_epoch=True, sync_dist=True)
        return out["loss"]

    def validation_step(self, batch: Sequence[Tensor], batch_idx: int) -> None:
        """Evaluate one batch.

        Args:
            batch: images (N, C, H, W) and targets (N,).
            batch_idx: the number of the batch.
        """
        out = self.shared_step(batch, batch_idx)
        metrics = {f"val_{name}": out[name] for name in ("loss", "acc1", "acc5")}
        self.validation_step_outputs.append(metrics | {"batch_size": out["batch_size"]})

    def on_validation_epoch_end(self) -> None:
        """Average and log the validation's metrics."""
        _SoloLinear.validation_epoch_end(self, self.validation_step_outputs)
        self.validation_step_outputs.clear()


LinearModel: type = _Step if release() == "main" else _Bridged
