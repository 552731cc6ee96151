# SPDX-License-Identifier: MIT
"""An entry of ``augmentations``: the operations on an image, by solo-learn main's names."""

__all__ = ["Augmentation"]

from typing import Annotated

from pydantic import Field, model_validator
from typing_extensions import Self

from solo_plugins.args.kinds import (
    Block,
    Channels,
    Deviations,
    Flag,
    Fraction,
    Left,
    Rule,
    Size,
    Strength,
    broken,
    left,
)

_JITTER = ("brightness", "contrast", "saturation", "hue")
_AS_PROB = left("`prob` counts")


class Crop(Block):
    """A random part of the image, resized.

    Args:
        enabled: crop; else the whole image is resized.
        crop_min_scale: the smallest part of the image's area.
        crop_max_scale: the largest part of it.
    """

    enabled: Flag
    crop_min_scale: Annotated[float, Field(gt=0, le=1), Rule("above 0 and at most 1")] = left(
        "required if enabled"
    )
    crop_max_scale: Annotated[float, Field(gt=0, le=1), Rule("above 0 and at most 1")] = left(
        "required if enabled"
    )

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if not self.enabled:
            return self
        for name in ("crop_min_scale", "crop_max_scale"):
            if isinstance(getattr(self, name), Left):
                raise broken(name, "set with `enabled: true`")
        if self.crop_min_scale > self.crop_max_scale:
            raise broken("crop_min_scale", "at most `crop_max_scale`")
        return self


class Operation(Block):
    """An operation that is done to some of the images.

    Args:
        enabled: as solo-learn's YAMLs say; false goes with a ``prob`` of 0, which alone counts.
        prob: the probability.
    """

    enabled: Flag = _AS_PROB
    prob: Fraction

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.enabled is False and self.prob > 0:
            raise broken("prob", "0 with `enabled: false`")
        return self


class Jitter(Operation):
    """A random change of colours.

    Args:
        brightness: the largest relative change.
        contrast: likewise.
        saturation: likewise.
        hue: the largest change, in turns of the colour circle.
    """

    brightness: Strength = left("required if `prob` is above 0")
    contrast: Strength = left("required if `prob` is above 0")
    saturation: Strength = left("required if `prob` is above 0")
    hue: Annotated[float, Field(ge=0, le=0.5), Rule("a number from 0 to 0.5")] = left(
        "required if `prob` is above 0"
    )

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        for name in _JITTER:
            if self.prob > 0 and isinstance(getattr(self, name), Left):
                raise broken(name, "set with a `prob` above 0")
        return self


class Augmentation(Block):
    """Crops of an image that are made alike. Those of the first entry's size are the large ones.

    Args:
        rrc: random crop and resize.
        color_jitter: a random change of colours.
        grayscale: no colours.
        gaussian_blur: blur.
        solarization: invert light parts.
        equalization: equalise the histogram.
        horizontal_flip: mirror.
        crop_size: height and width of the crops, in pixels.
        num_crops: the number of crops.
        mean: of each channel of images in [0, 1], which is subtracted; CIFAR and STL-10 have their
            own, as in solo-learn, and do not read this one or ``std``.
        std: of each channel, by which is divided.
    """

    rrc: Crop
    color_jitter: Jitter
    grayscale: Operation
    gaussian_blur: Operation
    solarization: Operation
    equalization: Operation
    horizontal_flip: Operation
    crop_size: Size
    num_crops: Annotated[int, Field(gt=0, le=1000), Rule("a positive integer")]
    mean: Channels | None = left("the data set's, or ImageNet's")
    std: Deviations | None = left("the data set's, or ImageNet's")
