# SPDX-License-Identifier: MIT
"""JSON and YAML as plain values: nothing in them is run, resolved, repeated or endless."""

__all__ = ["check_plain", "check_yaml", "json_value", "without_nan"]

import json
import math
from typing import Any

import yaml

# A configuration has five levels.
_DEPTH = 32
_VALUES = 200_000
# What a signed integer of 64 bits holds, and every library takes.
_LARGEST = 2**63
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_BEGIN = (
    yaml.BlockMappingStartToken, yaml.BlockSequenceStartToken, yaml.FlowMappingStartToken,
    yaml.FlowSequenceStartToken,
)  # fmt: skip
_END = (yaml.BlockEndToken, yaml.FlowMappingEndToken, yaml.FlowSequenceEndToken)


def json_value(text: str | bytes) -> Any:
    """Parse JSON; the names NaN and Infinity are taken, as Python writes them.

    Args:
        text: the text, in UTF-8 if it is bytes.

    Returns:
        Plain values.

    Raises:
        ValueError: if it is no JSON, or :func:`check_plain` refuses it.
    """
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError(f"it has more than {_DEPTH} levels") from None
    check_plain(value)
    return value


def check_plain(value: Any) -> None:
    """Refuse values that no run writes, and that readers of plain values do not expect.

    Args:
        value: mappings, lists, texts, numbers, flags and None.

    Raises:
        ValueError: naming the place, if there are more than 32 levels or 200,000 values, a key
            is no text, a whole number needs more than 64 bits, or something else is in it.

    Example:
        >>> check_plain({"a": [1.5, None, {"b": 10**30}]})
        Traceback (most recent call last):
        ValueError: `a.2.b` is a whole number of more than 64 bits
    """
    todo: list[tuple[tuple[Any, ...], Any, int]] = [((), value, 0)]
    count = 1
    while todo:
        place, item, depth = todo.pop()
        if isinstance(item, dict | list):
            count += len(item)
            if depth == _DEPTH:
                raise ValueError(f"it has more than {_DEPTH} levels")
            if count > _VALUES:
                raise ValueError(f"it has more than {_VALUES} values")
        if isinstance(item, dict):
            if any(not isinstance(key, str) for key in item):
                raise ValueError(f"{_named(place)} has a key that is no text")
            todo += [((place, key), part, depth + 1) for key, part in item.items()]
        elif isinstance(item, list):
            todo += [((place, key), part, depth + 1) for key, part in enumerate(item)]
        elif isinstance(item, int) and not -_LARGEST <= item < _LARGEST:
            raise ValueError(f"{_named(place)} is a whole number of more than 64 bits")
        elif not isinstance(item, str | int | float | None):
            raise ValueError(f"{_named(place)} is of type {type(item).__name__}")


def check_yaml(text: str) -> None:
    r"""Refuse a YAML text in which more is meant than stands there.

    Args:
        text: the text.

    Raises:
        ValueError: if it has aliases, by which a small text can become an endless one, tags, which
            name types, references such as ``${oc.env:HOME}``, also behind escapes, or more than 32
            levels, which take YAML's readers their square in time.
        yaml.YAMLError: if it is no YAML.

    Example:
        >>> check_yaml(r'name: "\x24{oc.env:HOME}"')
        Traceback (most recent call last):
        ValueError: it has references, ${...}, which are never resolved
    """
    depth = 0
    for token in yaml.scan(text, Loader=_LOADER):
        depth += isinstance(token, _BEGIN) - isinstance(token, _END)
        if depth > _DEPTH:
            raise ValueError(f"it has more than {_DEPTH} levels")
        if isinstance(token, yaml.AliasToken):
            raise ValueError("it has YAML aliases")
        if isinstance(token, yaml.TagToken):
            raise ValueError("it has YAML tags")
        if isinstance(token, yaml.ScalarToken) and "${" in token.value:
            raise ValueError("it has references, ${...}, which are never resolved")


def without_nan(value: Any) -> Any:
    """Put None in place of numbers that JSON does not have: NaN and the infinite ones.

    Args:
        value: what ``json`` can write.

    Returns:
        The same, with mappings as dictionaries and sequences as lists.

    Example:
        >>> without_nan({"a": [1.0, float("nan")], "b": -math.inf})
        {'a': [1.0, None], 'b': None}
    """
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _named(place: tuple[Any, ...]) -> str:
    """Write a place, the places above it and its key, as a dotted one."""
    keys: list[str] = []
    while place:
        place, key = place
        keys.insert(0, str(key))
    return f"`{'.'.join(keys)[:80]}`" if keys else "it"
