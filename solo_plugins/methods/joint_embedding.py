# SPDX-License-Identifier: MIT
"""The base class of this plugin's methods: a projector, an online probe and diagnostics."""

__all__ = ["JointEmbedding"]

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from solo_plugins.distributions import Quantiles
from solo_plugins.errors import ConfigurationError
from solo_plugins.framework import BaseMethod, accuracy_at_k
from solo_plugins.methods.shared_settings import JointEmbeddingSettings
from solo_plugins.metrics import EffectiveRank, OutputDiagnostics, l0_sparsity, l1_sparsity
from solo_plugins.runs.description import Description

# The reference implementation's log keys, behind `train_` or `val_`; others keep their names.
_LOGGED = {"l0": "l0_sparsity_metric", "l1": "l1_sparsity_metric"}

_BACKBONE_RANK = "val_backbone_effective_rank"


class JointEmbedding(BaseMethod):
    """A method whose loss is a function of the projector's outputs for all views.

    A subclass names its ``settings_class`` and ``loss_name`` and computes :meth:`objective`.

    Args:
        cfg: solo-learn's configuration; ``method_kwargs`` are those of ``settings_class``.

    Raises:
        ConfigurationError: if a setting cannot work.
    """

    settings_class: ClassVar[type[JointEmbeddingSettings]]
    settings: JointEmbeddingSettings
    loss_name: ClassVar[str]
    # the target active fraction, if there is one
    target_l0: float | None = None

    def __init__(self, cfg: DictConfig) -> None:
        super().__init__(cfg)
        settings = self.settings_class.from_config(_method_kwargs(self.cfg))
        self.settings = settings
        self.projector = settings.projector(self.features_dim)
        self.projector_classifier = (
            nn.Linear(settings.proj_output_dim, self.num_classes)
            if settings.add_projector_classifier
            else None
        )
        self.train_diagnostics = OutputDiagnostics(settings.proj_output_dim)
        self.val_diagnostics = OutputDiagnostics(settings.proj_output_dim)
        self.val_backbone_rank = EffectiveRank(self.features_dim)
        self.no_labels = bool(OmegaConf.select(self.cfg, "data.no_labels", default=False))
        if self.no_labels:
            for classifier in filter(None, (self.classifier, self.projector_classifier)):
                classifier.requires_grad_(False)

    @property
    def target(self) -> Quantiles | None:
        """The distribution that each output is matched to, or None if there is none."""
        return None

    @property
    def description(self) -> Description:
        """What a report shows of a run of this method."""
        return Description(self.cfg.method, f"train_{self.loss_name}")

    def target_summary(self) -> str | None:
        """Describe the target in one line; None if there is no target."""
        return None

    @abstractmethod
    def objective(
        self, views: Sequence[Tensor], batch_idx: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the method's loss.

        Args:
            views: outputs (N, D) for each crop, large ones first.
            batch_idx: the number of the batch in its epoch.

        Returns:
            The loss, a scalar, and the unweighted terms it is made of, scalars, by name.
        """

    @classmethod
    @override
    def add_and_assert_specific_cfg(cls, cfg: DictConfig) -> DictConfig:
        cfg = super().add_and_assert_specific_cfg(cfg)
        settings = cls.settings_class.from_config(_method_kwargs(cfg))
        cfg.method_kwargs = OmegaConf.create(settings.model_dump())
        if cfg.optimizer.batch_size < 2:
            raise ConfigurationError(
                "Expected `optimizer.batch_size` to be at least 2, a distribution cannot be "
                f"matched by less, but got {cfg.optimizer.batch_size}."
            )
        if cfg.data.num_large_crops + cfg.data.num_small_crops < 2:
            raise ConfigurationError(
                "Expected `augmentations` to give at least 2 crops of an image but got "
                f"{cfg.data.num_large_crops + cfg.data.num_small_crops}."
            )
        return cfg

    @property
    def learnable_params(self) -> list[dict[str, Any]]:
        """The parameter groups: backbone and classifier, projector and its classifier."""
        groups = [
            *super().learnable_params,
            {"name": "projector", "params": self.projector.parameters()},
        ]
        if self.projector_classifier is not None:
            groups.append(
                {
                    "name": "projector_classifier",
                    "params": self.projector_classifier.parameters(),
                    "lr": self.classifier_lr,
                    "weight_decay": 0,
                }
            )
        return groups

    def forward(self, X: Tensor) -> dict[str, Any]:
        """Compute features, logits and outputs.

        Args:
            X: images (N, C, H, W).

        Returns:
            ``feats`` (N, F), ``logits`` (N, classes) and ``z`` (N, D), which is non-negative with
            the rectified projector.
        """
        out = super().forward(X)
        return {**out, "z": self.projector(out["feats"])}

    @override
    def multicrop_forward(self, X: Tensor) -> dict[str, Any]:
        out = super().multicrop_forward(X)
        return {**out, "z": self.projector(out["feats"])}

    def training_step(self, batch: Sequence[Any], batch_idx: int) -> dict[str, Tensor]:
        """Compute the loss of one batch.

        Args:
            batch: indexes (N,), a list of crops (N, C, H, W), targets (N,).
            batch_idx: the number of the batch in its epoch.

        Returns:
            ``loss``, and for the check for NaN the detached terms of the objective and
            ``classifier``.
        """
        out = super().training_step(batch, batch_idx)
        views = out["z"]
        loss, terms = self.objective(views, batch_idx)
        losses = {f"train_{name}_loss": value for name, value in terms.items()}
        self.log_dict({f"train_{self.loss_name}": loss, **losses}, on_epoch=True, sync_dist=True)
        if self.measures_sparsity():
            self._log_sparsity(torch.cat(views[: self.num_large_crops]))
        terms = {name: value.detach() for name, value in terms.items()}
        if self.no_labels:
            return {"loss": loss, **terms}
        classifier = out["loss"]
        if self.projector_classifier is not None:
            classifier = classifier + self._log_projector_classifier(out)
        return {"loss": loss + classifier, **terms, "classifier": classifier.detach()}

    def _base_shared_step(self, X: Tensor, targets: Tensor) -> dict[str, Any]:
        # Both releases send the large crops of training and validation batches through here.
        out = super()._base_shared_step(X, targets)
        if self.projector_classifier is not None:
            classifier = self.projector_classifier  # z may be wider, as thresholds need float32
            logits = classifier(out["z"].detach().to(classifier.weight.dtype))
            acc1, acc5 = accuracy_at_k(logits, targets, top_k=(1, min(5, logits.size(1))))
            loss = F.cross_entropy(logits, targets, ignore_index=-1)
            out.update(proj_loss=loss, proj_acc1=acc1, proj_acc5=acc5)
        if not self.training:
            self._log_validation(out)
        return out

    def on_train_epoch_start(self) -> None:
        """Reset the diagnostics, in case the last training epoch was interrupted."""
        super().on_train_epoch_start()
        self.train_diagnostics.reset()

    def on_train_epoch_end(self) -> None:
        """Log the diagnostics of all steps of the epoch whose sparsity was logged."""
        super().on_train_epoch_end()
        self._log_diagnostics(self.train_diagnostics, "train")

    def on_validation_epoch_start(self) -> None:
        """Reset the diagnostics, in case the last validation was interrupted."""
        super().on_validation_epoch_start()
        self.val_diagnostics.reset()
        self.val_backbone_rank.reset()

    def on_validation_epoch_end(self) -> None:
        """Average and log the validation's metrics and its diagnostics."""
        super().on_validation_epoch_end()
        self._log_diagnostics(self.val_diagnostics, "val")
        if self.val_backbone_rank.update_count:
            self.log(_BACKBONE_RANK, self.val_backbone_rank.compute(), sync_dist=True)
            self.val_backbone_rank.reset()

    def _log_validation(self, out: dict[str, Any]) -> None:
        self.val_diagnostics.update(out["z"])
        self.val_backbone_rank.update(out["feats"])
        metrics = {f"val_{name}": out[name] for name in out if name.startswith("proj_")}
        self.log_dict(metrics, batch_size=len(out["z"]), sync_dist=True)

    def _log_projector_classifier(self, out: dict[str, Any]) -> Tensor:
        names = ("proj_loss", "proj_acc1", "proj_acc5")
        means = {name: sum(out[name]) / self.num_large_crops for name in names}
        metrics = {f"train_{name}": value for name, value in means.items()}
        self.log_dict(metrics, on_epoch=True, sync_dist=True)
        return means["proj_loss"]

    def _log_sparsity(self, z: Tensor) -> None:
        self.train_diagnostics.update(z)
        active = l0_sparsity(z)
        metrics: dict[str, Any] = {
            "train_l0_sparsity_metric": active,
            "train_l1_sparsity_metric": l1_sparsity(z),
        }
        if self.target_l0 is not None:
            metrics["train_target_l0"] = self.target_l0
        self.log_dict(metrics, on_epoch=True, batch_size=len(z), sync_dist=True)
        if self._ends_an_epoch():  # with the epoch, as the step's own row need not be logged
            name = "train_l0_sparsity_metric_last"
            self.log(name, active, on_step=False, on_epoch=True, batch_size=1, sync_dist=True)

    def _log_diagnostics(self, diagnostics: OutputDiagnostics, stage: str) -> None:
        if diagnostics.update_count == 0:
            return  # an epoch that ended before its last step
        diagnostics.target = self.target
        metrics: dict[str, Any] = diagnostics.compute()
        diagnostics.reset()
        if stage == "train":  # logged step by step
            metrics = {name: value for name, value in metrics.items() if name not in _LOGGED}
        elif self.target_l0 is not None:
            metrics["target_l0"] = self.target_l0
        metrics = {f"{stage}_{_LOGGED.get(name, name)}": metrics[name] for name in metrics}
        self.log_dict(metrics, sync_dist=True)

    def measures_sparsity(self) -> bool:
        """Tell whether the sparsity of the present step is logged.

        Returns:
            True every ``logging_interval`` steps, and at the last one of an epoch and of the run:
            what is said of either is not older than it is.
        """
        return self.global_step % self.settings.logging_interval == 0 or self._ends_an_epoch()

    def _ends_an_epoch(self) -> bool:
        if self._trainer is None:
            return False
        return self.trainer.is_last_batch or self.global_step + 1 == self.trainer.max_steps

    def step_generator(self, batch_idx: int) -> torch.Generator:
        """Seed the present step's draws, the same on all ranks and again when a run is resumed.

        Args:
            batch_idx: the number of the batch in its epoch.

        Returns:
            A generator of its own, on the model's device.
        """
        seed = OmegaConf.select(self.cfg, "seed", default=5)  # solo-learn's default
        state = np.random.SeedSequence([seed, self.global_step, batch_idx])
        generator = torch.Generator(device=self.device)
        return generator.manual_seed(int(state.generate_state(1, np.uint64)[0]) >> 1)


def _method_kwargs(cfg: DictConfig) -> dict[str, Any]:
    return {str(name): value for name, value in cfg.method_kwargs.items()}
