# SPDX-License-Identifier: MIT
"""Rectified LpJEPA as a method of solo-learn."""

__all__ = ["RectifiedLpJEPA"]

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn
from torch.nn import functional as F

from solo_plugins.errors import ConfigurationError
from solo_plugins.framework import BaseMethod, accuracy_at_k
from solo_plugins.rectified_lpjepa.directions import DIRECTIONS, SingularDirections
from solo_plugins.rectified_lpjepa.projector import PROJECTORS
from solo_plugins.rectified_lpjepa.rdmreg import RDMReg
from solo_plugins.rectified_lpjepa.settings import Settings
from solo_plugins.rectified_lpjepa.sparsity import l0_sparsity, l1_sparsity


class RectifiedLpJEPA(BaseMethod):
    r"""Sparse, non-negative representations by distribution matching.

    With :math:`z_v` (N, D) the projector's outputs for view v, the loss is

    .. math:: \lambda_{inv} \, \mathrm{mean}_{v, w} \lVert z_v - z_w \rVert^2 / (N D)
        + \lambda_{reg} \, \mathrm{mean}_v \, \mathrm{RDMReg}(z_v)

    over all pairs of views of which at least one is a large crop, and over all views. Small crops
    are pulled and regularised like large ones. The regulariser runs in float32 on the batch of all
    processes.

    Args:
        cfg: solo-learn's configuration; ``method_kwargs`` are those of
            :class:`~solo_plugins.rectified_lpjepa.settings.Settings`.

    Raises:
        ConfigurationError: if a setting cannot work.

    References:
        Rectified LpJEPA, https://arxiv.org/abs/2602.01456
    """

    def __init__(self, cfg: DictConfig) -> None:
        super().__init__(cfg)
        settings = Settings.from_config(_method_kwargs(self.cfg))
        self.settings = settings
        self.target = settings.target()
        self.target_l0 = float(self.target.active_probability)  # type: ignore[attr-defined]
        self.rdm_reg = RDMReg(
            self.target,
            DIRECTIONS[settings.projection_vectors_type](settings.num_projections),
            share_target=settings.share_target,
        )
        self.projector = PROJECTORS[settings.projector_type](
            self.features_dim, settings.proj_hidden_dim, settings.proj_output_dim
        )
        self.projector_classifier = (
            nn.Linear(settings.proj_output_dim, self.num_classes)
            if settings.add_projector_classifier
            else None
        )
        self.no_labels = bool(OmegaConf.select(self.cfg, "data.no_labels", default=False))
        if self.no_labels:
            for classifier in filter(None, (self.classifier, self.projector_classifier)):
                classifier.requires_grad_(False)

    @staticmethod
    def add_and_assert_specific_cfg(cfg: DictConfig) -> DictConfig:
        """Fill in the method's defaults and check its settings.

        Args:
            cfg: the configuration, changed in place.

        Returns:
            The same configuration.

        Raises:
            ConfigurationError: if a setting cannot work.
        """
        cfg = super(RectifiedLpJEPA, RectifiedLpJEPA).add_and_assert_specific_cfg(cfg)
        settings = Settings.from_config(_method_kwargs(cfg))
        cfg.method_kwargs = OmegaConf.create(vars(settings))
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
        _check_directions(settings, cfg)
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

    def multicrop_forward(self, X: Tensor) -> dict[str, Any]:
        """Compute features and outputs of small crops.

        Args:
            X: images (N, C, H, W).

        Returns:
            ``feats`` (N, F) and ``z`` (N, D).
        """
        out = super().multicrop_forward(X)
        return {**out, "z": self.projector(out["feats"])}

    def training_step(self, batch: Sequence[Any], batch_idx: int) -> dict[str, Tensor]:
        """Compute the loss of one batch.

        Args:
            batch: indexes (N,), a list of crops (N, C, H, W), targets (N,).
            batch_idx: the number of the batch in its epoch.

        Returns:
            ``loss``, and the detached terms ``invariance``, ``rdm_reg`` and ``classifier`` that a
            run which diverges is judged by.
        """
        out = super().training_step(batch, batch_idx)
        views = out["z"]
        invariance = _invariance(views, self.num_large_crops)
        rdm_reg = self.rdm_reg(views, generator=self._generator(batch_idx))
        loss = (
            self.settings.invariance_loss_weight * invariance
            + self.settings.rdm_reg_loss_weight * rdm_reg
        )
        terms = {"invariance": invariance.detach(), "rdm_reg": rdm_reg.detach()}
        self.log_dict(
            {
                "train_rectified_lp_jepa_loss": loss,
                "train_invariance_loss": invariance,
                "train_rdm_reg_loss": rdm_reg,
            },
            on_epoch=True,
            sync_dist=True,
        )
        if self.global_step % self.settings.logging_interval == 0:
            self._log_sparsity(torch.cat(views[: self.num_large_crops]), "train")
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
            logits = self.projector_classifier(out["z"].detach())
            acc1, acc5 = accuracy_at_k(logits, targets, top_k=(1, min(5, logits.size(1))))
            loss = F.cross_entropy(logits, targets, ignore_index=-1)
            out.update(proj_loss=loss, proj_acc1=acc1, proj_acc5=acc5)
        if not self.training:
            self._log_validation(out)
        return out

    def _log_validation(self, out: dict[str, Any]) -> None:
        self._log_sparsity(out["z"], "val")
        metrics = {f"val_{name}": out[name] for name in out if name.startswith("proj_")}
        self.log_dict(metrics, batch_size=len(out["z"]), sync_dist=True)

    def _log_projector_classifier(self, out: dict[str, Any]) -> Tensor:
        names = ("proj_loss", "proj_acc1", "proj_acc5")
        means = {name: sum(out[name]) / self.num_large_crops for name in names}
        metrics = {f"train_{name}": value for name, value in means.items()}
        self.log_dict(metrics, on_epoch=True, sync_dist=True)
        return means["proj_loss"]

    def _log_sparsity(self, z: Tensor, stage: str) -> None:
        metrics = {
            f"{stage}_l0_sparsity_metric": l0_sparsity(z),
            f"{stage}_l1_sparsity_metric": l1_sparsity(z),
            f"{stage}_target_l0": self.target_l0,
        }
        self.log_dict(metrics, on_epoch=True, batch_size=len(z), sync_dist=True)

    def _generator(self, batch_idx: int) -> torch.Generator:
        """Seed the step's draws, the same on all ranks and again when a run is resumed."""
        seed = OmegaConf.select(self.cfg, "seed", default=5)  # solo-learn's default
        state = np.random.SeedSequence([seed, self.global_step, batch_idx])
        generator = torch.Generator(device=self.device)
        return generator.manual_seed(int(state.generate_state(1, np.uint64)[0] >> 1))


def _method_kwargs(cfg: DictConfig) -> dict[str, Any]:
    return {str(name): value for name, value in cfg.method_kwargs.items()}


def _invariance(views: Sequence[Tensor], num_large: int) -> Tensor:
    """Average the mean squared difference over the pairs of views with a large crop among them."""
    pairs = itertools.combinations(range(len(views)), 2)
    differences = [
        F.mse_loss(views[first].float(), views[second].float())
        for first, second in pairs
        if first < num_large
    ]
    return torch.stack(differences).mean()


def _check_directions(settings: Settings, cfg: DictConfig) -> None:
    directions = DIRECTIONS[settings.projection_vectors_type](settings.num_projections)
    if not isinstance(directions, SingularDirections):
        return
    devices = OmegaConf.select(cfg, "devices", default=1)
    world = (devices if isinstance(devices, int) else len(devices)) * OmegaConf.select(
        cfg, "num_nodes", default=1
    )
    needed = directions.num_singular(
        cfg.optimizer.batch_size * max(1, world), settings.proj_output_dim
    )
    if needed > settings.num_projections:
        raise ConfigurationError(
            "Expected `method_kwargs.num_projections` to be at least the number of singular "
            f"directions, {needed} at this batch size and `proj_output_dim`, but got "
            f"{settings.num_projections}."
        )
