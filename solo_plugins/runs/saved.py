# SPDX-License-Identifier: MIT
"""What a saved configuration must be for what is read of it, whoever wrote it."""

__all__ = ["check_saved", "inlined"]

import math
import re
from collections.abc import Callable
from functools import partial
from typing import Any

# Blocks of settings; what is read of the first ones is read without asking.
_NEEDED_BLOCKS = ("data", "performance")
_BLOCKS = (
    *_NEEDED_BLOCKS, "auto_resume", "auto_umap", "backbone", "backbone.kwargs", "checkpoint",
    "dali", "knn_eval", "method_kwargs", "mlp_probe", "momentum", "optimizer", "optimizer.kwargs",
    "scheduler", "wandb",
)  # fmt: skip
_TEXTS = ("method", "data.dataset", "backbone.name", "data.train_path", "data.val_path")
# By key the smallest and the largest whole number.
_NUMBERS = {
    "seed": (-(2**63), 2**63 - 1),
    "max_epochs": (-1, 10**9),
    "max_steps": (-1, 10**15),
    "num_nodes": (1, 10**5),
    "optimizer.batch_size": (1, 10**7),
    "data.num_classes": (1, 10**7),
}
_NAME, _PATH, _MOST_DEVICES, _LARGEST_CROP = 100, 4096, 10**5, 1024
# A reference to one value of the same file; with a colon it would be a call.
_REFERENCE = re.compile(r"\$\{([A-Za-z_][\w.]*)\}")
_MISSING = object()
_AUTO = "auto"  # in YAMLs for own images: found out from them


def check_saved(content: dict[str, Any], *, asked: bool = False) -> None:
    """Refuse what no run writes, before anything is built or written by it.

    Settings that are missing or null are left to those who need them.

    Args:
        content: plain values.
        asked: whether it is what was asked for, in which any setting may be ``auto``.

    Raises:
        ValueError: naming the key, the rule and the value, as a clause.

    Example:
        >>> check_saved({"backbone": {"name": ["resnet18"]}})
        Traceback (most recent call last):
        ValueError: `backbone.name` is to be a text of at most 100 characters but is ['resnet18']
    """
    if asked:
        content = _without_auto(content)
    for place, value in _leaves("", content):
        if value == "???":
            raise ValueError(f"`{place}` has no value, ???")
        if isinstance(value, str) and "${" in value:
            raise ValueError(f"`{place}` has a reference, {value[:40]!r}, which is never resolved")
    for key in _BLOCKS:
        _check(key, _at(content, key), "a block of settings", lambda v: isinstance(v, dict))
    for key in _NEEDED_BLOCKS:
        if content.get(key, {}) is None:
            raise _wrong(key, "a block of settings", None)
    for key in _TEXTS:
        most = _PATH if key.endswith("path") else _NAME
        rule = f"a text of at most {most} characters"
        _check(key, _at(content, key), rule, partial(_is_text, most=most))
    rule = f"a text of at most {_NAME} characters, or a number"
    _check("name", _at(content, "name"), rule, lambda v: _is_text(v, _NAME) or _is_number(v))
    for key, (low, high) in _NUMBERS.items():
        rule = f"a whole number from {low} to {high}"
        _check(key, _at(content, key), rule, partial(_is_whole, low=low, high=high))
    rule = f"a number, or a list of numbers, up to {_MOST_DEVICES}"
    _check("devices", _at(content, "devices"), rule, _is_devices)
    _check_augmentations(_at(content, "augmentations"))


def inlined(content: dict[str, Any]) -> dict[str, Any]:
    """Put single values in place of references to them, as solo-learn's main saves its YAMLs'.

    Nothing is called or looked up outside of the file, and no text is put together.

    Args:
        content: plain values.

    Returns:
        The same with each text that is exactly ``${some.key}`` replaced, where that key has a
        number, a flag, null, or a text that is no reference itself; other texts stay.

    Example:
        >>> inlined({"a": {"b": 0.5}, "c": ["${a.b}", "${oc.env:HOME}", "${a}"]})["c"]
        [0.5, '${oc.env:HOME}', '${a}']
    """

    def replaced(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: replaced(item) for key, item in value.items()}
        if isinstance(value, list):
            return [replaced(item) for item in value]
        found = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
        target = _MISSING if found is None else _at(content, found[1], _MISSING)
        plain = not isinstance(target, dict | list) and "${" not in str(target)
        return target if target is not _MISSING and plain else value

    return replaced(content)


def _without_auto(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_auto(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {key: _without_auto(item) for key, item in value.items() if item != _AUTO}


def _check_augmentations(entries: Any) -> None:
    rule = "a list of blocks of settings, one at least"
    _check("augmentations", entries, rule, lambda value: isinstance(value, list) and len(value) > 0)
    for number, entry in enumerate(entries or []):
        key = f"augmentations.{number}"
        if not isinstance(entry, dict):
            raise _wrong(key, "a block of settings", entry)
        rule = f"a whole number from 1 to {_LARGEST_CROP}"
        size = entry.get("crop_size")
        _check(f"{key}.crop_size", size, rule, lambda value: _is_whole(value, 1, _LARGEST_CROP))
        for name in ("mean", "std"):
            rule, positive = "three numbers", name == "std"
            _check(
                f"{key}.{name}",
                entry.get(name),
                f"{rule} above 0" if positive else rule,
                partial(_are_channels, positive=positive),
            )


def _check(key: str, value: Any, rule: str, holds: Callable[[Any], bool]) -> None:
    if value is not None and not holds(value):
        raise _wrong(key, rule, value)


def _wrong(key: str, rule: str, value: Any) -> ValueError:
    return ValueError(f"`{key}` is to be {rule} but is {repr(value)[:60]}")


def _at(content: dict[str, Any], key: str, missing: Any = None) -> Any:
    """Look up a dotted key; `missing` if there is none, or no block above it."""
    value: Any = content
    for name in key.split("."):
        if isinstance(value, list) and name.isdecimal() and int(name) < len(value):
            value = value[int(name)]
        elif isinstance(value, dict) and name in value:
            value = value[name]
        else:
            return missing
    return value


def _leaves(place: str, value: Any) -> Any:
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield from _leaves(f"{place}.{key}" if place else str(key), item)
    else:
        yield place, value


def _is_text(value: Any, most: int) -> bool:
    return isinstance(value, str) and len(value) <= most


def _is_number(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value)


def _is_whole(value: Any, low: int, high: int) -> bool:
    return _is_number(value) and value == int(value) and low <= value <= high


def _is_devices(value: Any) -> bool:
    if isinstance(value, list):
        return len(value) <= _MOST_DEVICES and all(_is_whole(v, 0, _MOST_DEVICES) for v in value)
    return _is_text(value, _NAME) or _is_whole(value, -1, _MOST_DEVICES)


def _are_channels(value: Any, *, positive: bool) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 3
        and all(_is_number(number) and (number > 0 or not positive) for number in value)
    )
