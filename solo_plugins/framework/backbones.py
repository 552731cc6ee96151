# SPDX-License-Identifier: MIT
"""timm's models as backbones, under the names ``timm/<name>``."""

__all__ = ["REFUSALS", "BackboneFactory", "size_settings", "timm_backbones", "timm_factory"]

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import timm
import torch
from timm.models import get_pretrained_cfg, is_model
from torch import nn

from solo_plugins.errors import ConfigurationError
from solo_plugins.framework.bounded import TooLargeError, bounded

BackboneFactory = Callable[..., nn.Module]
# solo-learn's own transformers, by which it means timm's
_OWN_SIZED = ("vit_", "swin_")
# What timm, torchvision and torch raise for arguments and sizes that a network does not take.
REFUSALS = (
    ArithmeticError, AssertionError, AttributeError, LookupError, NotImplementedError, RuntimeError,
    TypeError, ValueError,
)  # fmt: skip


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


def size_settings(
    name: str, given: Mapping[str, Any], sizes: Sequence[int], *, add: bool = True
) -> dict[str, Any]:
    """Find the settings by which a backbone takes images of some sizes.

    timm builds many models for one size of images, and knows which. A model is tried without memory
    or arithmetic, on torch's meta device: one of those with ``img_size``, and for more than one
    size with ``dynamic_img_size`` or ``strict_img_size``.

    Args:
        name: ``backbone.name``.
        given: ``backbone.kwargs``, which are kept.
        sizes: heights, equal to widths, of all crops; the largest ones first.
        add: whether settings may be added; the network of a checkpoint is what it is.

    Returns:
        Settings to be added, none for a backbone that takes any size.

    Raises:
        ConfigurationError: if a model of timm takes some size in no way.

    Example:
        >>> size_settings("timm/swinv2_tiny_window8_256", {}, [32])
        {'img_size': 32}
        >>> size_settings("timm/resnet18", {}, [32])
        {}
    """
    sized = {} if "img_size" in given else {"img_size": sizes[0]}
    several = len(set(sizes)) > 1
    if name.startswith(_OWN_SIZED) and add and sized:
        return sized | ({"dynamic_img_size": True} if several and name[0] == "v" else {})
    model = name.removeprefix("timm/")
    if not name.startswith("timm/") or not is_model(model):
        return {}
    known = get_pretrained_cfg(model)
    tries: list[dict[str, Any]] = [{}]
    if known is not None and known.fixed_input_size and add:
        tries = [sized, {}]
        if several:
            ways = ({"dynamic_img_size": True}, {"strict_img_size": False})
            tries = [*(sized | way for way in ways), *tries]
    for settings in tries:
        added = {key: value for key, value in settings.items() if key not in given}
        if _takes(model, {**given, **added}, sizes):
            return added
    own = given.get("img_size", 224 if known is None else known.input_size[-1])
    if not _takes(model, given, [own]):
        return {}  # the size is not what is wrong: building it says what is
    listed = ", ".join(map(str, dict.fromkeys(sizes)))
    raise ConfigurationError(
        f"Expected crop sizes that `backbone.name: {name}` takes, which is made for {own}, but got "
        f"{listed}."
    )


def _takes(model: str, settings: Mapping[str, Any], sizes: Sequence[int]) -> bool:
    built = {**settings, "pretrained": False}  # a trial needs no weights
    try:
        with torch.device("meta"), torch.no_grad(), bounded():
            network = timm.create_model(model, num_classes=0, **built).eval()
            for size in dict.fromkeys(sizes):
                network(torch.zeros(1, 3, size, size))
    except TooLargeError as error:
        raise ConfigurationError(
            f"Expected `backbone.kwargs` of timm/{model} to build a network but got one that is "
            f"absurd: {error}."
        ) from error
    except REFUSALS:
        return False
    return True
