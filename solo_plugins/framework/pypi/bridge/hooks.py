# SPDX-License-Identifier: MIT
"""Mixins by which the release's methods run under Lightning 2 and behave as on main."""

__all__ = [
    "CurrentWhitening",
    "FromConfig",
    "GradientClipping",
    "Momentum",
    "UnitPrototypes",
    "Validation",
]

from collections.abc import Collection, Sequence
from typing import Any, ClassVar

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.core.optimizer import LightningOptimizer
from omegaconf import DictConfig
from solo.methods.base import BaseMomentumMethod
from torch import Tensor, nn
from torch.optim import Optimizer
from typing_extensions import override

from solo_plugins.framework.defaults import MOMENTUM, fill_defaults
from solo_plugins.framework.pypi.bridge.arguments import constructor_arguments, parser_defaults


class Validation:
    """Hands what the validation steps return to the release at the epoch's end.

    The class behind it sets ``validation_step_outputs``.
    """

    # Lightning 2 refuses a model on which this can be called.
    validation_epoch_end = None

    @override
    def validation_step(self, batch: Sequence[Tensor], batch_idx: int) -> Any:
        metrics = super().validation_step(batch, batch_idx)
        self.validation_step_outputs.append(metrics)
        return metrics

    def on_validation_epoch_end(self) -> None:
        """Average and log the validation's metrics."""
        super().validation_epoch_end(self.validation_step_outputs)
        self.validation_step_outputs.clear()


class FromConfig(Validation):
    """Builds a method of the release from main's configuration.

    Args:
        cfg: main's configuration.
    """

    # The settings that every method of the release has; the others are its method_kwargs.
    _shared: ClassVar[Collection[str]] = tuple(parser_defaults(BaseMomentumMethod))

    def __init__(self, cfg: DictConfig) -> None:
        cfg = self.add_and_assert_specific_cfg(cfg)
        super().__init__(cfg=cfg, **constructor_arguments(cfg, type(self), shared=self._shared))


class Momentum:
    """Adapts the update of a momentum branch to Lightning 2, to main and to resuming."""

    @staticmethod
    @override
    def add_and_assert_specific_cfg(cfg: DictConfig) -> DictConfig:
        return fill_defaults(cfg, MOMENTUM)

    def on_train_start(self) -> None:
        """Set tau for the step that training starts at."""
        super().on_train_start()
        self._set_tau()

    @override
    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        super().on_train_batch_end(outputs, batch, batch_idx, 0)
        self._set_tau()

    def _set_tau(self) -> None:
        # From the step, as tau is in no checkpoint, and over the steps that will be made: the
        # release counts the loader's batches, also those that `limit_train_batches` leaves out.
        steps = self.trainer.estimated_stepping_batches
        self.momentum_updater.update_tau(self.trainer.global_step, steps)


class GradientClipping:
    """Keeps DINO's ``clip_gradients(value)`` and Lightning's hook of the same name apart."""

    def clip_gradients(self, optimizer: Any, *args: Any, **kwargs: Any) -> None:
        """Clip gradients as Lightning does when it calls, and as the method does when that calls.

        Args:
            optimizer: Lightning's optimizer, or the method's threshold.
            *args: Lightning's.
            **kwargs: Lightning's.
        """
        if isinstance(optimizer, Optimizer | LightningOptimizer):
            LightningModule.clip_gradients(self, optimizer, *args, **kwargs)
        else:
            super().clip_gradients(optimizer)


class UnitPrototypes:
    """Gives SwAV's prototypes length 1, as on main and in the paper; the release trains lengths.

    Args:
        cfg: main's configuration.
    """

    def __init__(self, cfg: DictConfig) -> None:
        super().__init__(cfg)
        length: nn.Parameter = self.prototypes.weight_g  # by torch's weight normalisation
        nn.init.ones_(length)
        length.requires_grad_(False)


class CurrentWhitening:
    """Gives W-MSE a whitening by functions that torch still has; the release's were removed.

    Args:
        cfg: main's configuration.
    """

    def __init__(self, cfg: DictConfig) -> None:
        super().__init__(cfg)
        self.whitening = _Whitening(self.whitening.eps)


class _Whitening(nn.Module):
    """Whitens by the inverse of the covariance's Cholesky factor, in float32.

    Args:
        eps: the share of the identity in the covariance, from 0 to 1.
    """

    def __init__(self, eps: float) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Map samples (N, D) to samples whose covariance is the identity."""
        with torch.autocast(x.device.type, enabled=False):
            centred = x.float() - x.float().mean(dim=0)
            covariance = centred.T @ centred / (len(x) - 1)
            identity = torch.eye(len(covariance), device=x.device)
            factor = torch.linalg.cholesky(covariance.lerp(identity, self.eps))
            return torch.linalg.solve_triangular(factor, centred.T, upper=False).T
