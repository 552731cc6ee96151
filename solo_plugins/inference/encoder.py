# SPDX-License-Identifier: MIT
"""A pretrained network as a plain module, from a run or a checkpoint of any writer."""

__all__ = ["Encoder", "load"]

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn
from torchvision import transforms as T

from solo_plugins.data.datasets import DATASETS, with_normalization
from solo_plugins.data.images import as_rgb
from solo_plugins.data.transforms import eval_transform
from solo_plugins.errors import ConfigurationError, one_of
from solo_plugins.evaluation.network import build
from solo_plugins.framework import has_projector, projector_name
from solo_plugins.inputs import check_tensor
from solo_plugins.registry import register
from solo_plugins.runs.folder import RunFolder
from solo_plugins.runs.pretrained import Pretrained, find_pretrained

_CHANNELS = 3


class Encoder(nn.Module):
    """A backbone and a projector with what belongs to them, without the method they come from.

    Args:
        backbone: a module of images (N, 3, H, W) that gives features (N, F).
        projector: a module of features that gives outputs (N, D), or None if the method has none.
        transform: the evaluation transform: a function of a PIL image of any mode and size that
            gives a tensor (3, H, W).
        config: the run's resolved configuration, read-only.
        checkpoint: the file that the weights come from.
    """

    def __init__(
        self,
        backbone: nn.Module,
        projector: nn.Module | None,
        *,
        transform: Callable,
        config: DictConfig,
        checkpoint: Path,
    ) -> None:
        super().__init__()
        self.backbone, self.projector = backbone, projector
        self.transform, self.config, self.checkpoint = transform, config, checkpoint

    @property
    def crop_size(self) -> int:
        """Height and width of the images that `transform` gives, in pixels."""
        return int(self.config.augmentations[0].crop_size)

    @property
    def normalization(self) -> tuple[Sequence[float], Sequence[float]]:
        """Mean and standard deviation of each channel, of images in [0, 1]."""
        filled = with_normalization(self.config.data.dataset, self.config.augmentations[0])
        return tuple(filled.mean), tuple(filled.std)

    def forward(self, images: Tensor) -> Tensor:
        """Compute backbone features.

        Args:
            images: as `transform` gives them, stacked to (N, 3, H, W).

        Returns:
            Features (N, F).

        Raises:
            TypeError: if `images` is no tensor, or of another dtype than the weights outside of
                autocast.
            ValueError: if `images` is of another shape, or the backbone takes another size.
        """
        check_tensor("images", images)
        cast = torch.is_autocast_enabled(images.device.type) and images.dtype != torch.float64
        if not images.is_floating_point() or (images.dtype != self._dtype and not cast):
            raise TypeError(
                f"Expected `images` to be of {self._dtype}, as `transform` gives them, but got "
                f"{images.dtype}."
            )
        if images.ndim != 4 or images.size(1) != _CHANNELS:
            raise ValueError(
                f"Expected `images` to be of shape (N, {_CHANNELS}, H, W), as `transform` gives "
                f"them, but got {tuple(images.shape)}."
            )
        return self.backbone(images)

    @property
    def _dtype(self) -> torch.dtype:
        return next(self.parameters()).dtype

    def encode(self, images: Tensor, *, sparse: bool = False) -> Tensor:
        """Compute the projector's outputs, the code of each image.

        Args:
            images: as for :meth:`forward`.
            sparse: whether to return a sparse tensor, in which only outputs that are not zero take
                memory.

        Returns:
            Outputs (N, D); with `sparse` in torch's CSR layout.

        Raises:
            ValueError: as :meth:`forward`, or if the method has no projector.
        """
        if self.projector is None:
            raise ValueError(
                f"Expected a method with a projector but {self.config.method} has none: there are "
                "features only."
            )
        codes = self.projector(self(images))
        return _csr(codes) if sparse else codes


def load(path: str | Path) -> Encoder:
    """Load a pretrained network.

    It is built as the run was, from torchvision's, timm's and solo-learn's backbones, for which
    solo-learn is imported and :func:`~solo_plugins.register` is called; nothing of Lightning's or
    of solo-learn's methods is left in it. No code in the checkpoint is run.

    Args:
        path: a run's folder, or a checkpoint with the run's configuration beside it, written by
            this plugin, solo-learn's main branch or the reference implementation.

    Returns:
        The network in evaluation mode, on the CPU.

    Raises:
        ConfigurationError: if there is no checkpoint or no configuration, it cannot be read, or its
            weights do not fit.
        SoloLearnMissingError: if solo-learn is not installed.
    """
    register()
    pretrained = find_pretrained(path, key="path")
    config = _config(pretrained)
    model = build(pretrained, config, projector=None)
    projector = getattr(model, projector_name(model)) if has_projector(model) else None
    backbone: nn.Module = model.backbone  # type: ignore[assignment]
    OmegaConf.set_readonly(config, True)
    transform = T.Compose([as_rgb, eval_transform(config)])
    return Encoder(
        backbone,
        projector,
        transform=transform,
        config=config,
        checkpoint=pretrained.checkpoint,
    ).eval()


def _config(pretrained: Pretrained) -> DictConfig:
    """Check what the transform is made from."""
    config = pretrained.cfg
    if config is None:
        raise ConfigurationError(
            f"Expected a {RunFolder.CONFIGS} beside the checkpoint, which says what network it is, "
            f"but {str(pretrained.folder)!r} has none; copy that of the run to it."
        )
    if config.data.dataset not in DATASETS:
        raise one_of(f"data.dataset (in {pretrained.source})", config.data.dataset, DATASETS)
    size = config.augmentations[0].get("crop_size")
    if not isinstance(size, int) or size < 1:
        raise ConfigurationError(
            f"Expected `augmentations.0.crop_size` in {str(pretrained.source)!r} to be a positive "
            f"integer but got {size!r}."
        )
    return config


def _csr(codes: Tensor) -> Tensor:
    with warnings.catch_warnings():
        # torch says once that the layout is in beta; what is used of it here is tested
        warnings.filterwarnings("ignore", "Sparse CSR tensor support", UserWarning)
        return codes.to_sparse_csr()
