# SPDX-License-Identifier: MIT
"""Building networks from settings that anybody may have written: none of absurd size."""

__all__ = ["TooLargeError", "bounded"]

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)

from solo_plugins.errors import ConfigurationError

# timm's largest models have some ten thousand.
_PARTS = 100_000


class TooLargeError(ConfigurationError):
    """A network that would be larger than it may be."""


@contextmanager
def bounded(most_bytes: int | None = None, *, most_parts: int = _PARTS) -> Iterator[None]:
    """Stop the building of a network that becomes too large, before its weights are written.

    Weights are counted as their modules take them; memory that was asked for by then has not been
    touched. Networks that other threads build meanwhile count too.

    Args:
        most_bytes: of all weights and buffers, or None for any number.
        most_parts: weights, buffers and modules.

    Yields:
        None.

    Raises:
        TooLargeError: in the block.

    Example:
        >>> with bounded(400):
        ...     nn.Linear(100, 100)
        Traceback (most recent call last):
        solo_plugins.framework.bounded.TooLargeError: the network has more than 400 bytes of weights
    """
    size = parts = 0

    def count(module: nn.Module, name: str, part: object) -> None:
        nonlocal size, parts
        parts += 1
        if parts > most_parts:
            raise TooLargeError(f"the network has more than {most_parts} parts")
        if isinstance(part, Tensor) and part.device.type != "meta":
            size += part.numel() * part.element_size()
        if most_bytes is not None and size > most_bytes:
            raise TooLargeError(f"the network has more than {most_bytes} bytes of weights")

    with ExitStack() as stack:
        for register in (
            register_module_parameter_registration_hook,
            register_module_buffer_registration_hook,
            register_module_module_registration_hook,
        ):
            stack.callback(register(count).remove)
        yield
