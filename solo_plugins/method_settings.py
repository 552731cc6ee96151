# SPDX-License-Identifier: MIT
"""`method_kwargs`: reading them, and what the methods of this plugin have in common."""

__all__ = ["JointEmbeddingSettings", "choice", "flag", "number"]

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from torch import nn
from typing_extensions import Self

from solo_plugins.errors import ConfigurationError, nearest, one_of
from solo_plugins.rectified_lpjepa.projector import PROJECTORS


@dataclasses.dataclass(frozen=True, kw_only=True)
class JointEmbeddingSettings:
    """The settings of every method with a projector and an online probe on its outputs.

    Args:
        proj_hidden_dim: width of the projector's two hidden layers, positive.
        proj_output_dim: number of outputs D, positive.
        projector_type: ``rectified_mlp``, which ends in ReLU, ``rep_rectified_mlp``, whose ReLU has
            GELU's gradient, or ``mlp``.
        add_projector_classifier: train an online linear classifier on the outputs too.
        logging_interval: steps between two logs of the sparsity metrics.

    Raises:
        ConfigurationError: if a value is out of range; the text names key, rule and value.
    """

    method: ClassVar[str]

    proj_hidden_dim: int
    proj_output_dim: int
    projector_type: str = "rectified_mlp"
    add_projector_classifier: bool = False
    logging_interval: int = 50

    def __post_init__(self) -> None:
        choice("projector_type", self.projector_type, PROJECTORS)
        for name in ("proj_hidden_dim", "proj_output_dim", "logging_interval"):
            number(name, getattr(self, name), "a positive integer", integer=True)
        flag("add_projector_classifier", self.add_projector_classifier)

    def projector(self, input_dim: int) -> nn.Module:
        """Build the projector.

        Args:
            input_dim: number of backbone features, positive.

        Returns:
            A module from (N, input_dim) to (N, proj_output_dim).
        """
        return PROJECTORS[self.projector_type](
            input_dim, self.proj_hidden_dim, self.proj_output_dim
        )

    @classmethod
    def from_config(cls, method_kwargs: Mapping[str, Any]) -> Self:
        """Read the settings from a configuration's ``method_kwargs``.

        Args:
            method_kwargs: the block as given by the user.

        Returns:
            The settings.

        Raises:
            ConfigurationError: if a name is unknown, a required one is missing or a value is bad.
        """
        fields = {field.name: field for field in dataclasses.fields(cls)}
        for name in method_kwargs:
            if name not in fields:
                raise ConfigurationError(
                    f"Expected `method_kwargs` to have settings of {cls.method} only but got "
                    f"`{name}`.{nearest(str(name), fields)} Known: {', '.join(fields)}."
                )
        for name, field in fields.items():
            if field.default is dataclasses.MISSING and name not in method_kwargs:
                raise ConfigurationError(f"Expected `method_kwargs.{name}` to be set.")
        return cls(**{str(name): value for name, value in method_kwargs.items()})


def choice(name: str, value: Any, choices: Iterable[str]) -> None:
    """Refuse a value outside a closed set.

    Args:
        name: the setting's name in ``method_kwargs``.
        value: what was given.
        choices: the values that exist.

    Raises:
        ConfigurationError: if `value` is none of them.
    """
    if value not in choices:
        raise one_of(f"method_kwargs.{name}", value, choices)


def number(
    name: str,
    value: Any,
    rule: str,
    *,
    integer: bool = False,
    low: float = -math.inf,
    high: float = math.inf,
) -> None:
    """Refuse what is no finite number, or not in the range that `rule` names.

    Args:
        name: the setting's name in ``method_kwargs``.
        value: what was given.
        rule: the error's words for what is right; "non-negative" or "positive" in them is checked.
        integer: refuse fractions too.
        low: the smallest value, for rules in other words.
        high: the largest value, for rules in other words.

    Raises:
        ConfigurationError: if `value` does not follow the rule.

    Example:
        >>> number("temperature", 0.2, "positive")
    """
    kind = int if integer else (int, float)
    good = isinstance(value, kind) and not isinstance(value, bool) and math.isfinite(value)
    if good and "non-negative" in rule:
        good = value >= 0
    elif good and "positive" in rule:
        good = value > 0
    if not good or not low <= value <= high:
        raise _error(name, rule, value)


def flag(name: str, value: Any) -> None:
    """Refuse what is neither true nor false.

    Args:
        name: the setting's name in ``method_kwargs``.
        value: what was given.

    Raises:
        ConfigurationError: if `value` is no boolean.
    """
    if not isinstance(value, bool):
        raise _error(name, "true or false", value)


def _error(name: str, rule: str, value: Any) -> ConfigurationError:
    return ConfigurationError(f"Expected `method_kwargs.{name}` to be {rule} but got {value!r}.")
