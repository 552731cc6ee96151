# SPDX-License-Identifier: MIT
"""The methods of solo-learn's PyPI release, brought up to the interface of its main branch.

``METHODS[name](cfg)``, ``backbone`` in place of ``encoder``, Lightning 2's hooks, main's LARS and
per-step schedules. The classes of the release are subclassed, never changed. What a method needs
stands in front of it and :class:`Encoder` directly in front of its ``BaseMethod``, so that Python's
method resolution order wraps the release from both sides::

    BYOL (bridged) -> Momentum -> FromConfig -> BYOL -> BaseMomentumMethod -> Encoder -> BaseMethod
"""

__all__ = [
    "LOSSES",
    "SCHEDULES",
    "BaseMethod",
    "adapt_methods",
    "backbone_constructor",
    "known_backbones",
]

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import torchvision
from lightning.pytorch import LightningModule
from solo.methods import METHODS
from solo.methods.base import BaseMethod as SoloBaseMethod
from solo.methods.base import BaseMomentumMethod
from solo.utils import backbones
from torch import Tensor, nn
from typing_extensions import override

from solo_plugins.framework.backbones import BackboneFactory, timm_backbones, timm_factory
from solo_plugins.framework.pypi.bridge.encoder import Encoder
from solo_plugins.framework.pypi.bridge.hooks import (
    CurrentWhitening,
    FromConfig,
    GradientClipping,
    Momentum,
    UnitPrototypes,
)
from solo_plugins.framework.pypi.bridge.joined import JoinedSimCLR, JoinedVICReg
from solo_plugins.framework.pypi.bridge.optimizer import SCHEDULERS

# The values of ``scheduler.name`` that a method can be trained with.
SCHEDULES: tuple[str, ...] = SCHEDULERS
# What methods call their loss in the logs, where main calls it otherwise.
LOSSES: dict[str, str] = {"ressl": "ressl_loss", "wmse": "train_neg_cos_sim"}
# Backbones that main has, this release has not and timm has under the same name.
_FROM_TIMM = (
    *(f"convnext_{size}" for size in ("tiny", "small", "base", "large")),
    *(f"poolformer_{size}" for size in ("s12", "s24", "s36", "m36", "m48")),
)
# What single methods need, by their names in solo-learn's table.
_OWN: dict[str, type] = {
    "simclr": JoinedSimCLR,
    "swav": UnitPrototypes,
    "vicreg": JoinedVICReg,
    "wmse": CurrentWhitening,
}


class BaseMethod(FromConfig, Encoder):
    """Main's ``BaseMethod`` on top of the PyPI release, to be subclassed by new methods.

    A subclass overrides ``forward``, which the training and validation steps go through, and
    ``multicrop_forward``; ``training_step`` returns lists of whatever these return.

    Args:
        cfg: main's configuration.
    """

    _shared = ()  # method_kwargs belong to the subclass

    def forward(self, X: Tensor) -> dict[str, Any]:
        """Compute backbone features and the online classifier's logits.

        Args:
            X: images (N, C, H, W).

        Returns:
            ``feats`` (N, F) and ``logits`` (N, classes).
        """
        return super().base_forward(X)

    @override
    def base_forward(self, X: Tensor) -> dict[str, Any]:
        return self(X)

    @override
    def multicrop_forward(self, X: Tensor) -> dict[str, Any]:
        return {"feats": self.backbone(self._channels_last(X))}

    @override
    def training_step(self, batch: Sequence[Any], batch_idx: int) -> dict[str, Any]:
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


def known_backbones() -> list[str]:
    """List the names that ``backbone.name`` may have.

    Returns:
        The release's own, those of main that timm has, and all of timm's.
    """
    return [*SoloBaseMethod._SUPPORTED_ENCODERS, *_FROM_TIMM, *timm_backbones()]


@cache
def backbone_constructor(name: str) -> BackboneFactory:
    """Find a backbone's constructor.

    Args:
        name: one of :func:`known_backbones`.

    Returns:
        A function of the method's name and ``backbone.kwargs``.
    """
    if name not in SoloBaseMethod._SUPPORTED_ENCODERS:
        return timm_factory(name.removeprefix("timm/"))
    own = getattr(torchvision.models if name.startswith("resnet") else backbones, name)
    return partial(_without_method, own)


def _without_method(own: Callable[..., nn.Module], method: str, **kwargs: Any) -> nn.Module:
    return own(**kwargs)


def adapt_methods() -> None:
    """Replace, in solo-learn's own table, its methods by ones built from main's configurations.

    ``linear`` is left alone, it is no pretraining method, and so are methods that were written
    against main's interface.
    """
    if METHODS.get("base") is BaseMethod:
        return
    bridged = {
        name: _bridge(name, method)
        for name, method in METHODS.items()
        if name != "base" and issubclass(method, SoloBaseMethod) and not issubclass(method, Encoder)
    }
    METHODS.update(bridged, base=BaseMethod)


def _bridge(name: str, method: type) -> type:
    """Make main's version of one method of the release."""
    front = [_OWN[name]] if name in _OWN else []
    if issubclass(method, BaseMomentumMethod):
        front.append(Momentum)
    if method.clip_gradients is not LightningModule.clip_gradients:
        front.append(GradientClipping)
    bases = (*front, FromConfig, method, Encoder)
    # Its own documentation would be FromConfig's.
    return type(method.__name__, bases, {"__doc__": method.__init__.__doc__})
