# SPDX-License-Identifier: MIT
"""Errors that are meant for the person who started a run, and the wording they share."""

__all__ = [
    "ConfigurationError",
    "NonFiniteLossError",
    "SoloLearnMissingError",
    "UnreadableImageError",
    "nearest",
    "nearest_path",
    "one_of",
    "os_error_line",
]

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any


class ConfigurationError(ValueError):
    """A setting that cannot work; the text names the key, the rule and the value."""


class UnreadableImageError(ConfigurationError):
    """An image file that cannot be read; the text names it.

    Args:
        text: the text. A loading process's error arrives as the traceback there, of which the last
            line is the text.
    """

    def __init__(self, text: str) -> None:
        last = text.strip().rpartition("\n")[2]
        super().__init__(last.removeprefix(f"{__name__}.{type(self).__name__}: "))


class NonFiniteLossError(ArithmeticError):
    """A term of the loss became NaN or infinite during training."""


class SoloLearnMissingError(ImportError):
    """solo-learn is not installed; the text gives both ways to install it."""


def nearest(name: str, choices: Iterable[str]) -> str:
    """Return ``" Did you mean `x`?"`` for the choice nearest to `name`, or an empty string.

    Args:
        name: what was given.
        choices: the names that exist.

    Returns:
        A sentence with a leading space, to be put behind an error's text.

    Example:
        >>> nearest("method_kwarsg", ["method", "method_kwargs"])
        ' Did you mean `method_kwargs`?'
    """
    by_lower = {choice.lower(): choice for choice in choices}
    found = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    return f" Did you mean `{by_lower[found[0]]}`?" if found else ""


def nearest_path(path: str | Path) -> str:
    """Return ``" Did you mean 'x'?"`` for the nearest name in the same folder, or an empty string.

    Args:
        path: a path that is not there.
    """
    path = Path(path)
    names = [other.name for other in path.parent.glob("*") if other.name != path.name]
    found = difflib.get_close_matches(path.name, names, n=1)
    return f" Did you mean {str(path.parent / found[0])!r}?" if found else ""


def os_error_line(error: OSError) -> str:
    """Say in one line what the system refuses.

    Args:
        error: its error.

    Returns:
        The reason, and the file if it is known.

    Example:
        >>> os_error_line(OSError(28, "No space left on device", "last.ckpt"))
        "No space left on device: 'last.ckpt'"
    """
    reason = " ".join(str(error.strerror or error).split()) or type(error).__name__
    return reason if error.filename is None else f"{reason}: {str(error.filename)!r}"


def one_of(key: str, value: Any, choices: Iterable[str]) -> ConfigurationError:
    """Build the error for a value outside a closed set.

    Args:
        key: the setting's full name.
        value: what was given.
        choices: the values that exist.

    Returns:
        The error, to be raised by the caller.

    Example:
        >>> print(one_of("mode_of_sigma", "sigma_NG", ["sigma_GN", "sigma_RGN"]))
        Expected `mode_of_sigma` to be one of sigma_GN, sigma_RGN but got 'sigma_NG'.\
 Did you mean `sigma_GN`?
    """
    names = list(choices)
    return ConfigurationError(
        f"Expected `{key}` to be one of {', '.join(names)} but got {value!r}."
        f"{nearest(str(value), names)}"
    )
