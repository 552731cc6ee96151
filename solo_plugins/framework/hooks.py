# SPDX-License-Identifier: MIT
"""What single methods of the PyPI release need to run under Lightning 2 and be as on main."""

__all__ = ["adapt", "fix_prototypes"]

from typing import Any

from lightning.pytorch import LightningModule
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import nn
from torch.optim import Optimizer

from solo_plugins.framework.joined import add_joined_step


def adapt(bridged: type, legacy: Any, *, momentum: bool) -> None:
    """Give a bridged class the hooks that its method needs.

    Args:
        bridged: the class.
        legacy: the release's method that it stands in front of.
        momentum: whether the method has a momentum branch.
    """
    if momentum:
        _add_momentum_hooks(bridged, legacy)
    if "clip_gradients" in vars(legacy):
        _add_gradient_clipping(bridged, legacy)
    add_joined_step(bridged, legacy)


def fix_prototypes(prototypes: nn.Module) -> None:
    """Give SwAV's prototypes length 1, as on main and in the paper; the release trains lengths.

    Args:
        prototypes: a linear layer with torch's weight normalisation.
    """
    length: nn.Parameter = prototypes.weight_g  # type: ignore[assignment]
    nn.init.ones_(length)
    length.requires_grad_(False)


def _add_momentum_hooks(bridged: type, legacy: Any) -> None:
    """Adapt the update of the momentum branch to Lightning 2, to main and to resuming."""

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


def _add_gradient_clipping(bridged: type, legacy: Any) -> None:
    """Keep DINO's ``clip_gradients(value)`` and Lightning's hook of the same name apart."""

    def clip_gradients(self: Any, optimizer: Any, *args: Any, **kwargs: Any) -> None:
        if isinstance(optimizer, Optimizer | LightningOptimizer):
            LightningModule.clip_gradients(self, optimizer, *args, **kwargs)
        else:
            legacy.clip_gradients(self, optimizer)

    bridged.clip_gradients = clip_gradients  # type: ignore[attr-defined]
