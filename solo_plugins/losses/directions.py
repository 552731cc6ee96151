# SPDX-License-Identifier: MIT
"""Unit directions that RDMReg projects outputs on."""

__all__ = [
    "DIRECTIONS",
    "Directions",
    "HadamardDirections",
    "OrthogonalDirections",
    "RandomDirections",
    "SingularDirections",
    "orthogonal_directions",
    "random_directions",
    "singular_directions",
]

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from numbers import Integral
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from solo_plugins import distributed
from solo_plugins.inputs import check_samples
from solo_plugins.losses.hadamard import LARGEST_FACTOR, HadamardProjections, sylvester
from solo_plugins.losses.projections import Projections, as_projections


class Directions(Protocol):
    """A function of outputs that gives projections on unit directions, the same on all ranks.

    One whose class says ``can_be_recorded = True``, in its own body, asks a GPU for no value and
    takes nothing but shapes from the outputs: see :class:`~solo_plugins.RDMReg`.
    """

    def __call__(
        self, features: Sequence[Tensor], *, generator: torch.Generator | None = None
    ) -> Projections:
        """Give K directions for this process's outputs of all views, (N, D) each."""


class _Draw(Protocol):
    def __call__(
        self,
        num_projections: int,
        dim: int,
        *,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor: ...


def random_directions(
    num_projections: int,
    dim: int,
    *,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Draw directions independently and uniformly on the unit sphere.

    Args:
        num_projections: K.
        dim: D.
        generator: where the randomness comes from.
        device: where to draw; the generator's by default.

    Returns:
        Unit rows (K, D) in float32.

    Raises:
        ValueError: if K is negative or D not positive.

    Example:
        >>> torch.allclose(random_directions(3, 8).norm(dim=1), torch.ones(3))
        True
    """
    _check_size(num_projections, dim)
    rows = _normal((num_projections, dim), generator, device)
    norm = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    # One normal number in 2**24 is zero, which is all that a row of one has.
    zero = norm == 0
    rows[:, :1] += zero
    return rows.div_(norm + zero)


def orthogonal_directions(
    num_projections: int,
    dim: int,
    *,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Draw orthonormal bases, each uniformly, until there are enough directions.

    Arguments and result are those of :func:`random_directions`. Rows are orthogonal within each
    block of D; the last block may be cut.

    Example:
        >>> rows = orthogonal_directions(4, 4)
        >>> torch.allclose(rows @ rows.T, torch.eye(4), atol=1e-5)
        True
    """
    _check_size(num_projections, dim)
    blocks = -(-num_projections // dim)
    normal = _normal((blocks, dim, dim), generator, device)
    with torch.autocast(normal.device.type, enabled=False):
        bases, upper = torch.linalg.qr(normal)
        # Without the signs of the diagonal, QR's bases are not uniform.
        bases = bases * upper.diagonal(dim1=1, dim2=2).sign().unsqueeze(1)
    return bases.mT.reshape(blocks * dim, dim)[:num_projections].contiguous()


def _check_size(num_projections: int, dim: int) -> None:
    if num_projections < 0 or dim < 1:
        raise ValueError(
            "Expected `num_projections` to be at least 0 and `dim` positive but got "
            f"{num_projections} and {dim}."
        )


@torch.no_grad()
def singular_directions(features: Tensor, *, bottom_half: bool = False) -> Tensor:
    """Compute the right-singular vectors of a centred batch, strongest first.

    Args:
        features: outputs (N, D).
        bottom_half: keep only the weaker half.

    Returns:
        Orthonormal rows (min(N, D), D), or the last half of them, in float32.

    Example:
        >>> singular_directions(torch.randn(16, 4), bottom_half=True).shape
        torch.Size([2, 4])
    """
    check_samples("features", features)
    with torch.autocast(features.device.type, enabled=False):
        centred = features.detach().float()
        centred = centred - centred.mean(dim=0)
        rows = torch.linalg.svd(centred, full_matrices=False).Vh
    return rows[len(rows) // 2 :] if bottom_half else rows


@dataclass(frozen=True)
class _FreshDirections:
    """Directions that do not depend on the features, fresh at every call, shared by the views.

    Args:
        num_projections: K, positive.

    Raises:
        ValueError: if `num_projections` is not positive.
    """

    num_projections: int

    draw: ClassVar[_Draw]

    def __post_init__(self) -> None:
        _check_positive(self.num_projections)

    def __call__(
        self, features: Sequence[Tensor], *, generator: torch.Generator | None = None
    ) -> Projections:
        """Draw.

        Args:
            features: outputs of each view, (N, D) each; only shape and device count.
            generator: where the randomness comes from, on the features' device.

        Returns:
            Projections on unit rows (K, D).
        """
        like = features[0]
        return as_projections(
            self.draw(self.num_projections, like.size(1), generator=generator, device=like.device)
        )


class RandomDirections(_FreshDirections):
    """Independent uniform directions, fresh at every call, shared by the views (the paper's).

    Fresh ones, since a fixed set would leave what is orthogonal to it free. They cost a product of
    N x D x K; :class:`HadamardDirections` do without.

    Example:
        >>> RandomDirections(5)([torch.zeros(2, 3)]).dense().shape
        torch.Size([5, 3])
    """

    can_be_recorded: ClassVar[bool] = True
    draw = staticmethod(random_directions)


class OrthogonalDirections(_FreshDirections):
    """Blocks of orthonormal directions, fresh at every call, shared by the views.

    Example:
        >>> OrthogonalDirections(5)([torch.zeros(2, 3)]).dense().shape
        torch.Size([5, 3])
    """

    draw = staticmethod(orthogonal_directions)


@dataclass(frozen=True)
class SingularDirections:
    """Each view's singular vectors, filled up with random directions that the views share.

    Args:
        num_projections: K, positive.
        bottom_half: use the weaker half of the singular vectors only.

    Raises:
        ValueError: if `num_projections` is not positive.

    Example:
        >>> SingularDirections(8)([torch.randn(16, 4), torch.randn(16, 4)]).dense().shape
        torch.Size([2, 8, 4])
    """

    num_projections: int
    bottom_half: bool = False

    def __post_init__(self) -> None:
        _check_positive(self.num_projections)

    def num_singular(self, num_samples: int, dim: int) -> int:
        """Count the singular directions that a batch gives.

        Args:
            num_samples: N, of all processes.
            dim: D.

        Returns:
            Their number, at most K for a call to succeed.
        """
        rows = min(num_samples, dim)
        return rows - rows // 2 if self.bottom_half else rows

    def __call__(
        self, features: Sequence[Tensor], *, generator: torch.Generator | None = None
    ) -> Projections:
        """Decompose the outputs of all processes and draw.

        Args:
            features: outputs of each view, (N, D) each.
            generator: where the randomness comes from, on the features' device.

        Returns:
            Projections on unit rows (V, K, D).

        Raises:
            ValueError: if there are more singular directions than K.
        """
        joined = distributed.gather(torch.stack(list(features)))
        _, num_samples, dim = joined.shape
        needed = self.num_singular(num_samples, dim)
        if needed > self.num_projections:
            raise ValueError(
                f"Expected `num_projections` to be at least the number of singular directions, "
                f"{needed} for {num_samples} samples of {dim} outputs, but got "
                f"{self.num_projections}."
            )
        fill = random_directions(
            self.num_projections - needed, dim, generator=generator, device=features[0].device
        )
        rows = [
            torch.cat([singular_directions(view, bottom_half=self.bottom_half), fill])
            for view in joined
        ]
        return as_projections(torch.stack(rows))


@dataclass(frozen=True)
class HadamardDirections:
    """Rows of Hadamard matrices with random signs, which cost no dense product.

    Fresh at every call, shared by the views: each block has its own signs, all have one random
    choice of the matrix's columns and one mix of eight outputs each. See
    :class:`HadamardProjections`.

    Args:
        num_projections: K, positive.

    Raises:
        ValueError: if `num_projections` is not positive.

    Example:
        >>> rows = HadamardDirections(5)([torch.zeros(2, 3)]).dense()
        >>> rows.shape, torch.allclose(rows.abs(), torch.tensor(3.0).rsqrt())
        (torch.Size([5, 3]), True)
    """

    can_be_recorded: ClassVar[bool] = True

    num_projections: int
    # by device: what is the same at every call, and many small operations on a GPU
    _matrices: dict[torch.device, Tensor] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check_positive(self.num_projections)

    def __call__(
        self, features: Sequence[Tensor], *, generator: torch.Generator | None = None
    ) -> Projections:
        """Draw.

        Args:
            features: outputs of each view, (N, D) each; only shape and device count.
            generator: where the randomness comes from, on the features' device.

        Returns:
            Projections on K unit directions.

        Raises:
            ValueError: if D is 1, where all directions are the same but for the sign.
        """
        dim, device = features[0].size(1), features[0].device
        if dim < 2:
            raise ValueError(f"Expected `features` to have at least 2 outputs but got {dim}.")
        size = 2 ** (dim - 1).bit_length()
        blocks = -(-self.num_projections // size)
        coins = torch.empty(blocks * size + dim, device=device).bernoulli_(generator=generator)
        signs, mix = coins.mul_(2).sub_(1).split([blocks * size, dim])
        ranks = torch.empty(size, device=device).uniform_(generator=generator)
        places = ranks.argsort()[:dim]
        if device not in self._matrices:
            self._matrices[device] = sylvester(LARGEST_FACTOR, device=device)
        matrix = self._matrices[device]
        return HadamardProjections(
            self.num_projections, signs.view(blocks, size), places, mix, matrix
        )


# By the reference implementation's names for `projection_vectors_type`, and ours for hadamard.
DIRECTIONS: dict[str, Callable[[int], Directions]] = {
    "random": RandomDirections,
    "orthogonal": OrthogonalDirections,
    "hadamard": HadamardDirections,
    "torch_svd_and_random": SingularDirections,
    "torch_svd_bottom_half_eigen_and_random": partial(SingularDirections, bottom_half=True),
}


def _check_positive(num_projections: int) -> None:
    if not isinstance(num_projections, Integral) or num_projections < 1:
        raise ValueError(
            f"Expected `num_projections` to be a positive integer but got {num_projections!r}."
        )


def _normal(
    shape: tuple[int, ...], generator: torch.Generator | None, device: torch.device | str | None
) -> Tensor:
    if device is None and generator is not None:
        device = generator.device
    empty = torch.empty(shape, device=device, dtype=torch.float32)
    return empty.normal_(generator=generator)
