# SPDX-License-Identifier: MIT
"""solo-learn's DALI transforms draw as its torchvision transforms do.

Each operation alone is applied to many copies of an image from which its draw can be read off, by
both libraries. Means, spreads and distributions are compared at a false-alarm rate of 1e-3 each;
seeds are fixed.
"""

import colorsys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from scipy import stats

from solo_plugins.data.dali import DaliLoader, Place
from solo_plugins.data.pixels import Pixels
from solo_plugins.data.transforms import dali_crops
from solo_plugins.framework import build_transform_pipeline

pytest.importorskip("nvidia.dali")

RATE = 1e-3
NUMBER = 1000
WHOLE = {"enabled": True, "crop_min_scale": 1.0, "crop_max_scale": 1.0}
PLAIN = {"mean": [0.0] * 3, "std": [1.0] * 3, "num_crops": 1, "color_jitter": {"prob": 0.0}}
_NONE = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0, "prob": 1.0}


def _constant(*colour: int) -> np.ndarray:
    return np.full((8, 8, 3), colour, np.uint8)


def _halves(left: int, right: int, size: int = 24) -> np.ndarray:
    image = np.full((size, size, 3), left, np.uint8)
    image[:, size // 2 :] = right
    return image


def _ramps(size: int = 64) -> np.ndarray:
    y, x = np.mgrid[:size, :size]
    return (np.stack([x, y, 0 * x], axis=-1) * (256 // size)).astype(np.uint8)


def _by_both(image: np.ndarray, augmentation: dict[str, Any]) -> list[np.ndarray]:
    """Return crops (N, H, W, 3) in [0, 255] by DALI and by torchvision."""
    entry = OmegaConf.create(augmentation)
    copies = Pixels(np.broadcast_to(image, (NUMBER, *image.shape)), [0] * NUMBER)
    cfg = OmegaConf.create({"data": {"dataset": "custom"}, "dali": {"device": "cpu"}})
    loader = DaliLoader(copies, dali_crops(cfg, [entry]), 250, Place("cpu"), seed=1)
    by_dali = torch.cat([crops[0] for _, crops, _ in loader])
    torch.manual_seed(1)
    transform, given = build_transform_pipeline("custom", entry), Image.fromarray(image)
    by_torchvision = torch.stack([transform(given) for _ in range(NUMBER)])
    both = (by_dali, by_torchvision)
    return [255 * crops.permute(0, 2, 3, 1).double().numpy() for crops in both]


def _agree(first: np.ndarray, second: np.ndarray) -> None:
    """Compare means, spreads and distributions."""
    assert stats.ttest_ind(first, second, equal_var=False).pvalue > RATE
    assert stats.levene(first, second).pvalue > RATE
    assert stats.ks_2samp(first, second).pvalue > RATE


@pytest.mark.parametrize(
    ("strengths", "image", "read"),
    [
        ({"brightness": 0.4}, _constant(100, 100, 100), lambda x: x[:, 4, 4, 0] / 100),
        # both turn about a mean of 128
        ({"contrast": 0.4}, _halves(78, 178), lambda x: (x[:, 9, 20, 0] - x[:, 9, 3, 0]) / 100),
        ({"saturation": 0.4}, _constant(160, 80, 80), lambda x: (x[..., 0] - x[..., 1])[:, 4, 4]),
    ],
    ids=["brightness", "contrast", "saturation"],
)
def test_strengths_of_colour_are_distributed_alike(
    strengths: dict[str, float], image: np.ndarray, read: Callable, augmentation: Callable
) -> None:
    jitter = {"color_jitter": {**_NONE, **strengths}}
    entry = augmentation(**{**PLAIN, **jitter}, rrc=WHOLE, crop_size=len(image))
    _agree(*map(read, _by_both(image, entry)))


def _angle(rgb: np.ndarray) -> float:
    """Return the angle in the plane of chroma, in degrees, by which DALI turns."""
    _, i, q = colorsys.rgb_to_yiq(*rgb / 255)
    return np.degrees(np.arctan2(q, i))


def test_hues_are_turned_by_equal_angles(augmentation: Callable) -> None:
    # torchvision turns in HSV, DALI in YIQ: each in its own terms
    jitter = {"color_jitter": {**_NONE, "hue": 0.1}}
    image = _constant(150, 90, 100)
    entry = augmentation(**{**PLAIN, **jitter}, rrc=WHOLE, crop_size=8)
    by_dali, by_torchvision = (crops[:, 4, 4] for crops in _by_both(image, entry))
    turned = np.array([_angle(rgb) for rgb in by_dali]) - _angle(image[0, 0])
    hues = [360 * colorsys.rgb_to_hsv(*rgb / 255)[0] for rgb in (*by_torchvision, image[0, 0])]
    # torchvision cuts a shift to 1 / 255 of a turn towards zero: spread it over that step
    shifted = np.abs((np.array(hues[:-1]) - hues[-1] + 180) % 360 - 180)
    shifted += np.random.default_rng(0).uniform(0, 360 / 255, NUMBER)
    _agree(np.abs(turned), shifted)
    assert stats.kstest(turned, stats.uniform(-36, 72).cdf).pvalue > RATE


@pytest.mark.parametrize(
    ("operation", "prob", "image", "read", "values"),
    [
        ("grayscale", 0.2, _constant(200, 100, 0), lambda x: x[:, 4, 4, 2], {0, 118}),
        ("solarization", 0.3, _constant(200, 200, 200), lambda x: x[:, 4, 4, 0], {55, 200}),
        ("horizontal_flip", 0.5, _halves(0, 255), lambda x: x[:, 4, 2, 0], {0, 255}),
    ],
    ids=["grayscale", "solarization", "flip"],
)
def test_operations_are_as_frequent_and_do_the_same(
    operation: str, prob: float, image: np.ndarray, read: Callable, values: set[int],
    augmentation: Callable,
) -> None:  # fmt: skip
    entry = augmentation(**{**PLAIN, operation: {"prob": prob}}, rrc=WHOLE, crop_size=len(image))
    both = [read(crops).round().astype(int) for crops in _by_both(image, entry)]
    unchanged = read(image[None].astype(int))[0]
    for found in both:
        assert all(min(abs(value - known) for known in values) <= 1 for value in set(found))
        changed = int((np.abs(found - unchanged) > 1).sum())
        assert stats.binomtest(changed, NUMBER, prob).pvalue > RATE


def _boxes(crops: np.ndarray) -> tuple[np.ndarray, ...]:
    """Read areas, aspects and centres off crops of the ramps, by lines through their middle."""
    size, middle = crops.shape[1], np.arange(8, 24)
    lines = []
    for values in (crops[:, 16, :, 0], crops[:, :, 16, 1]):
        slope, start = np.polyfit(middle, values[:, middle].T / 4, 1)
        lines.append((size * slope, slope * (size - 1) / 2 + start))
    (width, x), (height, y) = lines
    return width * height, np.log(width / height), x, y


@pytest.mark.parametrize("what", range(4), ids=["area", "aspect", "x", "y"])
def test_crops_are_distributed_alike(what: int, augmentation: Callable) -> None:
    crop = {"enabled": True, "crop_min_scale": 0.2, "crop_max_scale": 1.0}
    both = _by_both(_ramps(), augmentation(**PLAIN, rrc=crop))
    _agree(*(_boxes(crops)[what] for crops in both))


def _beside_an_edge(sigma: np.ndarray) -> np.ndarray:
    """Return the value beside an edge from 0 to 255 after a Gaussian of 23 points."""
    weights = np.exp(-(np.arange(-11, 12)[:, None] ** 2) / (2 * sigma**2))
    return np.round(255 * weights[12:].sum(axis=0) / weights.sum(axis=0))


def test_blurs_are_as_wide(augmentation: Callable) -> None:
    entry = augmentation(**{**PLAIN, "gaussian_blur": {"prob": 1.0}}, rrc=WHOLE, crop_size=32)
    both = (crops[:, 16, 15, 0] for crops in _by_both(_halves(0, 255, 32), entry))
    by_dali, by_torchvision = both
    # PIL puts boxes in the place of a Gaussian: its values are distributed a little otherwise
    assert stats.ttest_ind(by_dali, by_torchvision, equal_var=False).pvalue > RATE
    assert stats.levene(by_dali, by_torchvision).pvalue > RATE
    assert stats.ks_2samp(by_dali, by_torchvision).statistic < 0.15
    wanted = _beside_an_edge(np.random.default_rng(0).uniform(0.1, 2.0, 10 * NUMBER))
    assert stats.ks_2samp(by_dali.round(), wanted).pvalue > RATE
