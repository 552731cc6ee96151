# SPDX-License-Identifier: MIT
"""The DALI transforms of solo-learn's PyPI release, by main's interface."""

__all__ = ["DALI_FIXED", "build_transform_pipeline_dali"]

from collections.abc import Callable
from typing import Any

from omegaconf import DictConfig

# What this release's DALI transforms cannot vary: settings of an augmentation, and their value.
DALI_FIXED: dict[str, Any] = {"equalization.prob": 0, "rrc.enabled": True}


class _Sometimes:
    """One of the release's random operations, computed for those images alone that it changes.

    The release computes an operation for every image and then multiplies both results by zero or
    one, which takes most of its time. Main computes one of them, by DALI's conditionals; the
    probabilities are the same.

    Args:
        operation: an object of the release with a ``mux``, which is replaced.
        prob: the probability, above 0.
    """

    def __init__(self, operation: Any, prob: float) -> None:
        operation.mux = _changed
        self.operation, self.prob = operation, prob

    def __call__(self, images: Any) -> Any:
        """Change some of the images; DALI compiles the branches."""
        from nvidia.dali import fn, types

        changes = fn.random.coin_flip(probability=self.prob, dtype=types.DALIDataType.BOOL)
        if changes:
            # solarization gives integers of 32 bits
            images = fn.cast(self.operation(images), dtype=types.DALIDataType.UINT8)
        return images


def build_transform_pipeline_dali(dataset: str, cfg: DictConfig, dali_device: str) -> Callable:
    """Build one augmentation of the release's operations, with DALI's.

    Args:
        dataset: not used; main looks up the normalisation by it.
        cfg: an entry of ``augmentations``, with ``mean`` and ``std``, whose settings agree with
            `DALI_FIXED`.
        dali_device: ``gpu`` or ``cpu``.

    Returns:
        A function, to be called where a pipeline with conditionals is defined, of images that
        gives crops.
    """
    from solo.utils.dali_dataloader import CustomTransform  # which needs DALI

    jitter = cfg.color_jitter
    strengths = ("brightness", "contrast", "saturation", "hue")
    transform = CustomTransform(
        device=dali_device,
        **{name: jitter.get(name, 0.0) for name in strengths},
        horizontal_flip_prob=cfg.horizontal_flip.prob,
        min_scale=cfg.rrc.crop_min_scale,
        max_scale=cfg.rrc.crop_max_scale,
        crop_size=cfg.crop_size,
        mean=list(cfg.mean),
        std=list(cfg.std),
    )
    for name in ("color_jitter", "grayscale", "gaussian_blur", "solarization"):
        operation, prob = getattr(transform, f"random_{name}"), cfg[name].prob
        sometimes = _Sometimes(operation, prob) if prob else _unchanged
        setattr(transform, f"random_{name}", sometimes)
    return transform


def _changed(true_case: Any, false_case: Any) -> Any:
    return true_case


def _unchanged(images: Any) -> Any:
    return images
