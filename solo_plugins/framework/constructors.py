# SPDX-License-Identifier: MIT
"""Whether a backbone can be built with its ``kwargs`` and takes the crops, tried without memory."""

__all__ = ["check_kwargs"]

import json
import os
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, get_type_hints

import torch
from torch import Tensor, nn

from solo_plugins.errors import ConfigurationError
from solo_plugins.framework.backbones import REFUSALS

# By these a network fetches weights, which a trial has no use for.
_FETCHED = {"pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "weights", "checkpoint_path"}
_KEY = "backbone.kwargs"
_KINDS = {bool: "true or false", int: "an integer", float: "a number", str: "a text"}

Build = Callable[..., nn.Module]


def check_kwargs(
    name: str, build: Build, kwargs: Mapping[str, Any], sizes: Sequence[int], method: str
) -> None:
    """Refuse arguments with which a backbone cannot be built or does not run.

    It is built and run on torch's meta device, which has shapes and no numbers.

    Args:
        name: ``backbone.name``.
        build: its constructor, of the method's name and `kwargs`.
        kwargs: ``backbone.kwargs``, plain values.
        sizes: heights, equal to widths, of all crops.
        method: the method's name.

    Raises:
        ConfigurationError: naming the argument that is in the way.

    Example:
        >>> from solo_plugins.framework.backbones import timm_factory
        >>> check_kwargs("timm/resnet18", timm_factory("resnet18"), {"stem": 8}, [32], "byol")
        Traceback (most recent call last):
        solo_plugins.errors.ConfigurationError: Expected `backbone.kwargs.stem` to be an argument \
of timm/resnet18 that it can be built with but got 8: ResNet.__init__() got an unexpected keyword \
argument 'stem'
    """
    for key, value in kwargs.items():
        if key in ("pretrained", "features_only") and not isinstance(value, bool):
            raise ConfigurationError(
                f"Expected `{_KEY}.{key}` to be true or false but got {value!r}."
            )
        if key.endswith("_rate") and not _is_rate(value):
            raise ConfigurationError(
                f"Expected `{_KEY}.{key}` to be a number from 0 to below 1 but got {value!r}."
            )
    tried = {key: value for key, value in kwargs.items() if key not in _FETCHED}
    _check_signature(name, build, tried, method)
    trial = _Trial(name, build, sizes, method)
    reason = trial.reason(tried)
    if reason is None:
        return
    for key, value in tried.items():
        if trial.reason({other: tried[other] for other in tried if other != key}) is None:
            raise ConfigurationError(
                f"Expected `{_KEY}.{key}` to be an argument of {name} that it can be built with "
                f"but got {value!r}: {reason}"
            )
    # What torch cannot do without numbers does not count.
    if trial.reason(tried, device="cpu") is None:
        return
    listed = ", ".join(map(str, dict.fromkeys(sizes)))
    raise ConfigurationError(
        f"Expected `backbone.name: {name}` with `{_KEY}: {tried}` to be a network that takes "
        f"`augmentations` of crop size {listed} but: {reason}"
    )


def _is_rate(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return value is None or (number and 0 <= value < 1)


def _check_signature(name: str, build: Build, kwargs: Mapping[str, Any], method: str) -> None:
    """Refuse values of another kind than the network's own constructor says."""
    hints = _hints(build, method) if kwargs else {}
    for key, value in kwargs.items():
        kind = hints.get(key)
        words = _KINDS.get(kind) if isinstance(kind, type) else None
        if words is not None and not _is(kind, value):
            raise ConfigurationError(
                f"Expected `{_KEY}.{key}` to be {words}, as {name} has it, but got {value!r}."
            )


def _is(kind: Any, value: Any) -> bool:
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, (int, float) if kind is float else kind)


@lru_cache(maxsize=256)
def _hints(build: Build, method: str) -> dict[str, Any]:
    try:
        with torch.device("meta"):
            return get_type_hints(type(build(method)).__init__)
    except (*REFUSALS, NameError):  # a network that has to be told something, or odd annotations
        return {}


class _Trial:
    """Trials of one backbone.

    Args:
        name: its name.
        build: its constructor.
        sizes: of the crops.
        method: the method's name.
    """

    def __init__(self, name: str, build: Build, sizes: Sequence[int], method: str) -> None:
        self.backbone = (name, build, tuple(sorted(set(sizes))), method)

    def reason(self, kwargs: Mapping[str, Any], device: str = "meta") -> str | None:
        """Return why the backbone cannot be built or run with `kwargs`; None if it can."""
        return _reason(*self.backbone, json.dumps(kwargs, sort_keys=True, default=str), device)


@lru_cache(maxsize=256)
def _reason(
    name: str, build: Build, sizes: tuple[int, ...], method: str, kwargs: str, device: str
) -> str | None:
    try:
        with torch.device(device), torch.no_grad():
            network = build(method, **json.loads(kwargs)).eval()
            outputs = [network(torch.zeros(2, 3, size, size)) for size in sizes]
    except REFUSALS as error:
        return " ".join(str(error).split())[:300] or type(error).__name__
    if name.startswith("timm/") and any(not _are_features(out) for out in outputs):
        return "its output is not a row of features for each image"
    needed = sum(4 * weight.numel() for weight in network.parameters())
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > there:
        return f"its weights have {needed:,} bytes and this machine's memory {there:,}"
    return None


def _are_features(out: Any) -> bool:
    return isinstance(out, Tensor) and out.ndim == 2 and out.size(1) > 0
