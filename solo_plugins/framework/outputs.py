# SPDX-License-Identifier: MIT
"""The projector of any method, by one name on both releases."""

__all__ = ["has_projector", "outputs", "projector_name"]

from torch import Tensor, nn

from solo_plugins.errors import ConfigurationError

# DINO's is its head.
_NAMES = ("projector", "head")


def has_projector(model: nn.Module) -> bool:
    """Tell whether a method has a projector.

    Args:
        model: the method.

    Returns:
        False for masked autoencoders.
    """
    return any(isinstance(getattr(model, name, None), nn.Module) for name in _NAMES)


def projector_name(model: nn.Module) -> str:
    """Find out under which name a method keeps its projector.

    Args:
        model: the method.

    Returns:
        The attribute's name, which its weights in a checkpoint begin with.

    Raises:
        ConfigurationError: if the method has none, as masked autoencoders.
    """
    for name in _NAMES:
        if isinstance(getattr(model, name, None), nn.Module):
            return name
    raise ConfigurationError(
        f"Expected a method with a projector but {type(model).__name__} has none; its backbone can "
        "be evaluated by `features: backbone`."
    )


def outputs(model: nn.Module, feats: Tensor) -> Tensor:
    """Compute a method's outputs from backbone features.

    What main's methods return as ``z``, before any normalisation that belongs to the loss.

    Args:
        model: the method.
        feats: backbone features (N, F).

    Returns:
        Outputs (N, D).

    Raises:
        ConfigurationError: if the method has no projector.
    """
    return getattr(model, projector_name(model))(feats)
