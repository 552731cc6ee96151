# SPDX-License-Identifier: MIT
"""The settings that the methods of this plugin have in common."""

__all__ = ["JointEmbeddingSettings", "Width"]

from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, TypeAlias

from pydantic import Field, ValidationError
from torch import nn
from typing_extensions import Self

from solo_plugins.args.kinds import Block, Choices, Count, Flag, Rule
from solo_plugins.args.wording import refusal
from solo_plugins.modules import PROJECTORS

Width: TypeAlias = Annotated[int, Field(gt=0, le=10**6), Rule("a positive integer")]


class JointEmbeddingSettings(Block):
    """The settings of every method with a projector and an online probe on its outputs.

    Args:
        proj_hidden_dim: width of the projector's two hidden layers, positive.
        proj_output_dim: number of outputs D, positive.
        projector_type: ``rectified_mlp``, which ends in ReLU, ``rep_rectified_mlp``, whose ReLU has
            GELU's gradient, or ``mlp``.
        add_projector_classifier: train an online linear classifier on the outputs too.
        logging_interval: steps between two logs of sparsity; an epoch's last has one too.

    Raises:
        ConfigurationError: if a value is out of range; the text names key, rule and value.
    """

    method: ClassVar[str]
    # by setting, what builds the projector from the widths of features, hidden layers and outputs
    projectors: ClassVar[Mapping[str, Callable[[int, int, int], nn.Module]]] = PROJECTORS

    proj_hidden_dim: Width
    proj_output_dim: Width
    projector_type: Annotated[str, Choices(lambda: PROJECTORS)] = "rectified_mlp"
    add_projector_classifier: Flag = False
    logging_interval: Count = 50

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise refusal(error, type(self), values, prefix=["method_kwargs"]) from None

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
        return cls(**{str(name): value for name, value in method_kwargs.items()})
