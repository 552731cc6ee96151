# SPDX-License-Identifier: MIT
"""Hooks that the PyPI release's methods need under Lightning 2."""

__all__ = ["add_gradient_clipping", "add_momentum_hooks"]

from typing import Any

from lightning.pytorch import LightningModule
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch.optim import Optimizer


def add_momentum_hooks(bridged: type, legacy: Any) -> None:
    """Adapt the update of the momentum branch to Lightning 2, to main and to resuming.

    Args:
        bridged: the class that gets the hooks.
        legacy: the release's method that it stands in front of.
    """

    def set_tau(method: Any) -> None:
        # From the step, as tau is in no checkpoint, and over the steps that will be made: the
        # release counts the loader's batches, also those that `limit_train_batches` leaves out.
        trainer = method.trainer
        method.momentum_updater.update_tau(trainer.global_step, trainer.estimated_stepping_batches)

    def on_train_start(self: Any) -> None:
        legacy.on_train_start(self)
        set_tau(self)

    def on_train_batch_end(self: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        legacy.on_train_batch_end(self, outputs, batch, batch_idx, 0)
        set_tau(self)

    bridged.on_train_start = on_train_start  # type: ignore[attr-defined]
    bridged.on_train_batch_end = on_train_batch_end  # type: ignore[attr-defined]


def add_gradient_clipping(bridged: type, legacy: Any) -> None:
    """Keep DINO's ``clip_gradients(value)`` and Lightning's hook of the same name apart.

    Args:
        bridged: the class that gets the hook.
        legacy: the release's method that it stands in front of.
    """

    def clip_gradients(self: Any, optimizer: Any, *args: Any, **kwargs: Any) -> None:
        if isinstance(optimizer, Optimizer | LightningOptimizer):
            LightningModule.clip_gradients(self, optimizer, *args, **kwargs)
        else:
            legacy.clip_gradients(self, optimizer)

    bridged.clip_gradients = clip_gradients  # type: ignore[attr-defined]
