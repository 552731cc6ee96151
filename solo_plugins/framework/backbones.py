# SPDX-License-Identifier: MIT
"""timm's models as backbones, under the names ``timm/<name>``."""

__all__ = ["BackboneFactory", "timm_backbones", "timm_factory"]

from collections.abc import Callable
from typing import Any

import timm
from torch import nn

BackboneFactory = Callable[..., nn.Module]


def timm_factory(name: str) -> BackboneFactory:
    """Make a constructor of a timm model without its classifier.

    Args:
        name: a name that ``timm.create_model`` knows.

    Returns:
        A function of the method's name, which is ignored as solo-learn's own backbones do, and of
        any keyword arguments of ``timm.create_model``.

    Example:
        >>> timm_factory("resnet10t")("vicreg").num_features
        512
    """

    def build(method: str, **kwargs: Any) -> nn.Module:
        return timm.create_model(name, num_classes=0, **kwargs)

    return build


def timm_backbones() -> dict[str, BackboneFactory]:
    """List every architecture of the installed timm.

    Returns:
        Constructors by the names ``timm/<name>``.
    """
    return {f"timm/{name}": timm_factory(name) for name in timm.list_models()}
