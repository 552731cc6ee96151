# SPDX-License-Identifier: MIT
"""The projector: three linear layers, or SimCLR's two, with or without a ReLU at the end."""

__all__ = ["MLP", "PROJECTORS", "SHALLOW", "RectifiedMLP", "RepRectifiedMLP", "ShallowMLP"]

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, ClassVar

from torch import nn
from typing_extensions import Self

from solo_plugins.modules.activation import RepReLU, ThresholdedReLU


class MLP(nn.Sequential):
    """Linear, BatchNorm, ReLU, twice, and a linear layer (VICReg's projector).

    Args:
        input_dim: number of backbone features, positive.
        hidden_dim: width of both hidden layers, positive.
        output_dim: number of outputs, positive.

    Raises:
        ValueError: if a width is not positive.

    Example:
        >>> import torch
        >>> MLP(512, 64, 32)(torch.randn(8, 512)).shape
        torch.Size([8, 32])
    """

    def __init__(self, input_dim: int, hidden_dim: int, output_dim: int) -> None:
        widths = {"input_dim": input_dim, "hidden_dim": hidden_dim, "output_dim": output_dim}
        for name, width in widths.items():
            if width < 1:
                raise ValueError(f"Expected `{name}` to be positive but got {width}.")
        super().__init__(
            nn.Linear(input_dim, hidden_dim),
            nn.BatchNorm1d(hidden_dim),
            nn.ReLU(),
            nn.Linear(hidden_dim, hidden_dim),
            nn.BatchNorm1d(hidden_dim),
            nn.ReLU(),
            nn.Linear(hidden_dim, output_dim),
        )

    def __getitem__(self, idx: slice | int) -> Any:
        """Return a layer or, for a slice, some layers as a plain ``nn.Sequential``.

        Args:
            idx: as of a list; ``projector[:-1]`` is what comes before the last ReLU.

        Returns:
            The layers themselves, not copies.
        """
        return nn.Sequential(OrderedDict(self.named_children()))[idx]


class RectifiedMLP(MLP):
    """:class:`MLP` with a ReLU behind it: outputs are non-negative and can be exactly zero.

    A target with a point mass at zero can be matched by such outputs only: those of a linear layer
    are zero with probability zero.

    Arguments and errors are those of :class:`MLP`.

    Example:
        >>> import torch
        >>> bool((RectifiedMLP(512, 64, 32)(torch.randn(8, 512)) >= 0).all())
        True
    """

    rectifier: ClassVar[type[nn.Module]] = nn.ReLU

    def __init__(self, input_dim: int, hidden_dim: int, output_dim: int) -> None:
        super().__init__(input_dim, hidden_dim, output_dim)
        self.append(self.rectifier())

    def with_thresholds(self, *, standardize: bool = False, floor: int = 0) -> Self:
        """Put a threshold of each output before the last ReLU.

        Args:
            standardize: standardize each sample over its outputs first.
            floor: the least number of active outputs of a sample, from 0 to D - 1.

        Returns:
            The same projector.
        """
        self[7] = ThresholdedReLU(
            self[6].out_features,
            standardize=standardize,
            floor=floor,
            activation=self.rectifier(),
        )
        return self


class RepRectifiedMLP(RectifiedMLP):
    """:class:`RectifiedMLP` whose last ReLU has GELU's gradient, against outputs that die.

    Arguments and errors are those of :class:`MLP`.

    Example:
        >>> import torch
        >>> bool((RepRectifiedMLP(512, 64, 32)(torch.randn(8, 512)) >= 0).all())
        True
    """

    rectifier = RepReLU


class ShallowMLP(nn.Sequential):
    """Linear, ReLU and a linear layer (SimCLR's projector), and what it ends in.

    Args:
        input_dim: number of backbone features, positive.
        hidden_dim: width of the hidden layer, positive.
        output_dim: number of outputs, positive.
        *last: what comes behind the last layer, e.g. ``nn.ReLU()``.

    Example:
        >>> import torch
        >>> ShallowMLP(512, 64, 32)(torch.randn(8, 512)).shape
        torch.Size([8, 32])
    """

    def __init__(self, input_dim: int, hidden_dim: int, output_dim: int, *last: nn.Module) -> None:
        layers = (nn.Linear(input_dim, hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, output_dim))
        super().__init__(*layers, *last)


def _shallow(last: type[nn.Module]) -> Callable[[int, int, int], ShallowMLP]:
    return lambda *widths: ShallowMLP(*widths, last())


# By setting, what builds the projector from three widths.
SHALLOW: dict[str, Callable[[int, int, int], nn.Module]] = {
    "mlp2": ShallowMLP,
    "rectified_mlp2": _shallow(nn.ReLU),
    "rep_rectified_mlp2": _shallow(RepReLU),
}
PROJECTORS: dict[str, type[MLP]] = {
    "mlp": MLP,
    "rectified_mlp": RectifiedMLP,
    "rep_rectified_mlp": RepRectifiedMLP,
}
