# SPDX-License-Identifier: MIT
"""The settings that the methods of this plugin have in common."""

__all__ = ["JointEmbeddingSettings"]

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

from torch import nn
from typing_extensions import Self

from solo_plugins.args.checks import (
    check_choice,
    check_flag,
    check_number,
    check_positive_integer,
)
from solo_plugins.errors import ConfigurationError, nearest
from solo_plugins.modules import PROJECTORS


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
    # by setting, what builds the projector from the widths of features, hidden layers and outputs
    projectors: ClassVar[Mapping[str, Callable[[int, int, int], nn.Module]]] = PROJECTORS

    proj_hidden_dim: int
    proj_output_dim: int
    projector_type: str = "rectified_mlp"
    add_projector_classifier: bool = False
    logging_interval: int = 50

    def __post_init__(self) -> None:
        self._check_choice("projector_type", self.projectors)
        self._check_positive_integers("proj_hidden_dim", "proj_output_dim", "logging_interval")
        self._check_flags("add_projector_classifier")

    def projector(self, input_dim: int) -> nn.Module:
        """Build the projector, from backbone features (N, input_dim) to (N, proj_output_dim)."""
        return self.projectors[self.projector_type](
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

    def _check_choice(self, name: str, choices: Iterable[str]) -> None:
        check_choice(f"method_kwargs.{name}", getattr(self, name), choices)

    def _check_numbers(self, *names: str, rule: str, holds: Callable[[Any], bool]) -> None:
        for name in names:
            check_number(f"method_kwargs.{name}", getattr(self, name), rule, holds)

    def _check_positive_integers(self, *names: str) -> None:
        for name in names:
            check_positive_integer(f"method_kwargs.{name}", getattr(self, name))

    def _check_flags(self, *names: str) -> None:
        for name in names:
            check_flag(f"method_kwargs.{name}", getattr(self, name))
