# SPDX-License-Identifier: MIT
"""Checks of single settings: each refuses what cannot work, by key, rule and value."""

__all__ = ["check_choice", "check_flag", "check_number", "check_positive_integer"]

import math
from collections.abc import Callable, Iterable
from typing import Any

from solo_plugins.errors import ConfigurationError, one_of


def check_choice(key: str, value: Any, choices: Iterable[str]) -> None:
    """Refuse a value outside a closed set.

    Args:
        key: the setting's full name.
        value: what was given.
        choices: the values that exist.

    Raises:
        ConfigurationError: if `value` is not among them.
    """
    choices = list(choices)
    if value not in choices:
        raise one_of(key, value, choices)


def check_number(
    key: str,
    value: Any,
    rule: str,
    holds: Callable[[Any], bool] = math.isfinite,
    *,
    integer: bool = False,
) -> None:
    """Refuse what is not a finite number that follows a rule.

    Args:
        key: the setting's full name.
        value: what was given.
        rule: the rule in words, as they follow "to be".
        holds: whether a number follows the rule.
        integer: refuse fractions too.

    Raises:
        ConfigurationError: if `value` does not follow the rule.

    Example:
        >>> check_number("method_kwargs.temperature", 0.2, "positive", lambda value: value > 0)
    """
    kind = int if integer else (int, float)
    number = isinstance(value, kind) and not isinstance(value, bool) and math.isfinite(value)
    if not number or not holds(value):
        raise _error(key, rule, value)


def check_positive_integer(key: str, value: Any) -> None:
    """Refuse what is not a whole number of at least one.

    Args:
        key: the setting's full name.
        value: what was given.

    Raises:
        ConfigurationError: if `value` is anything else.
    """
    check_number(key, value, "a positive integer", lambda number: number > 0, integer=True)


def check_flag(key: str, value: Any) -> None:
    """Refuse what is neither true nor false.

    Args:
        key: the setting's full name.
        value: what was given.

    Raises:
        ConfigurationError: if `value` is not a boolean.
    """
    if not isinstance(value, bool):
        raise _error(key, "true or false", value)


def _error(key: str, rule: str, value: Any) -> ConfigurationError:
    return ConfigurationError(f"Expected `{key}` to be {rule} but got {value!r}.")
