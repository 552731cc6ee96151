# SPDX-License-Identifier: MIT
"""The kinds of values that settings have: what each may be, and that rule in words."""

__all__ = [
    "LIMIT", "Block", "Channels", "Choices", "Count", "Deviations", "Finite", "Flag", "Follows",
    "Fraction", "Left", "ListOf", "Momentum", "NonNegative", "NonNegativeInt", "Path", "Positive",
    "Rate", "Rule", "Size", "Strength", "Text", "Weight", "broken", "is_integer", "is_number",
    "left",
]  # fmt: skip

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

# Far above any use, and below what overflows when it is multiplied or counted on.
LIMIT = 10**9
T = TypeVar("T")


class Block(BaseModel):
    """A block of settings: names that are known, values of the kinds that are said.

    Numbers are numbers, neither texts nor true or false, and finite.
    """

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, protected_namespaces=()
    )


@dataclass(frozen=True)
class Rule:
    """The rule for a value.

    Args:
        text: the rule, as it follows "to be".
    """

    text: str


@dataclass(frozen=True)
class Left:
    """The default of a setting that is left out unless it is set.

    Args:
        text: what holds then, for the list of all settings.
    """

    text: str


def left(text: str) -> Any:
    """Make such a default, which is of no setting's type.

    Args:
        text: what holds then.

    Returns:
        The default.
    """
    return Left(text)


@dataclass(frozen=True)
class Choices:
    """A closed set, which is asked for when a value is checked.

    Args:
        names: a function that lists the values.
        shown: likewise, those that are shown; all by default.
    """

    names: Callable[[], Iterable[Any]]
    shown: Callable[[], Iterable[Any]] | None = None

    def listed(self) -> list[str]:
        """List the values that are shown, each once."""
        return list(dict.fromkeys(map(str, (self.shown or self.names)())))

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self._check)

    def _check(self, value: Any) -> Any:
        # 1 is no True, and 16.0 no 16
        if any(type(value) is type(name) and value == name for name in self.names()):
            return value
        raise PydanticCustomError("choices", "not one of them")


@dataclass(frozen=True)
class Follows:
    """A test for values of several kinds.

    Args:
        holds: whether a value follows the rule.
    """

    holds: Callable[[Any], bool]

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self._check)

    def _check(self, value: Any) -> Any:
        if self.holds(value):
            return value
        raise PydanticCustomError("rule", "against the rule")


def broken(field: str, rule: str) -> PydanticCustomError:
    """Build the error for a setting that does not go with another one of its block.

    Args:
        field: the setting's name in the block.
        rule: the rule, as it follows "to be".

    Returns:
        The error, to be raised in the block's validator.
    """
    return PydanticCustomError("together", "against the rule", {"field": field, "rule": rule})


Flag: TypeAlias = Annotated[bool, Rule("true or false")]
Text: TypeAlias = Annotated[str, Field(min_length=1, max_length=1000), Rule("a text")]
Path: TypeAlias = Annotated[str, Field(min_length=1, max_length=4096), Rule("a path")]
Count: TypeAlias = Annotated[int, Field(gt=0, le=LIMIT), Rule("a positive integer")]
NonNegativeInt: TypeAlias = Annotated[int, Field(ge=0, le=LIMIT), Rule("a non-negative integer")]
# Of an image, in pixels.
Size: TypeAlias = Annotated[int, Field(gt=0, le=4096), Rule("a positive integer")]
Finite: TypeAlias = Annotated[float, Field(ge=-LIMIT, le=LIMIT), Rule("a finite number")]
Positive: TypeAlias = Annotated[float, Field(gt=0, le=LIMIT), Rule("a positive number")]
NonNegative: TypeAlias = Annotated[float, Field(ge=0, le=LIMIT), Rule("a non-negative number")]
Weight: TypeAlias = Annotated[float, Field(ge=0, le=10**6), Rule("non-negative")]
Rate: TypeAlias = Annotated[float, Field(ge=0, le=1000), Rule("a non-negative number")]
Strength: TypeAlias = Annotated[float, Field(ge=0, le=100), Rule("a non-negative number")]
Fraction: TypeAlias = Annotated[float, Field(ge=0, le=1), Rule("a number from 0 to 1")]
Momentum: TypeAlias = Annotated[float, Field(ge=0, lt=1), Rule("a number from 0 to below 1")]
_Deviation: TypeAlias = Annotated[float, Field(gt=0, le=255), Rule("a positive number")]
Channels: TypeAlias = Annotated[
    list[Finite], Field(min_length=3, max_length=3), Rule("a list of three numbers")
]
Deviations: TypeAlias = Annotated[
    list[_Deviation], Field(min_length=3, max_length=3), Rule("a list of three positive numbers")
]


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


# A single value stands for a list of one.
ListOf: TypeAlias = Annotated[
    list[T],
    BeforeValidator(_as_list),
    Field(min_length=1, max_length=1000),
    Rule("a list of at least one value"),
]


def is_integer(value: Any) -> bool:
    """Tell whether a value is a whole number, which true and false are not."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Tell whether a value is a finite number, which true and false are not."""
    return is_integer(value) or (isinstance(value, float) and math.isfinite(value))
