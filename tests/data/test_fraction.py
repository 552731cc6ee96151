# SPDX-License-Identifier: MIT
"""A part of the training images: of each class alike, by labels and draw alone, for all readers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from sklearn.model_selection import train_test_split

from solo_plugins.data import LabelledDataModule
from solo_plugins.data.digits import Digits
from solo_plugins.data.fraction import Part, training_part
from solo_plugins.errors import ConfigurationError

Make = Callable[..., Any]
LABELS = np.repeat([3, 5, 9], [4, 6, 8])[np.random.default_rng(0).permutation(18)]


@pytest.mark.parametrize("shots", [1, 4])
@pytest.mark.parametrize("draw", [0, 7])
def test_shots_are_so_many_of_each_class_and_always_the_same(shots: int, draw: int) -> None:
    places = Part(shots=shots).places(LABELS, draw=draw)
    assert np.unique(LABELS[places], return_counts=True)[1].tolist() == [shots] * 3
    assert len(set(places)) == len(places)
    np.testing.assert_array_equal(places, Part(shots=shots).places(LABELS.tolist(), draw=draw))


def test_draws_differ_and_reach_every_image_alike() -> None:
    # each image of a class of 4 is in one of four draws: 400 draws are binomial, mean 100, and
    # five standard deviations of 8.7 are left by chance in less than 1e-5 of cases
    counts = sum(
        np.bincount(Part(shots=1).places(LABELS, draw=i), minlength=18) for i in range(400)
    )
    assert np.abs(counts[LABELS == 3] - 100).max() < 44


def test_a_fraction_is_scikit_learns_stratified_split() -> None:
    labels = Digits(train=True).targets
    wanted, _ = train_test_split(
        np.arange(len(labels)), train_size=0.1, stratify=labels, random_state=42
    )
    np.testing.assert_array_equal(Part(fraction=0.1).places(labels), np.sort(wanted))


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "ten", "", "0%", "100%", "nan%"])
def test_a_part_that_is_none_is_named(text: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"`shots` to list .* but got '{text}'"):
        Part.parse(text)


@pytest.mark.parametrize(
    ("data", "match"),
    [
        ({"shots": 0}, r"`data.shots` to be a positive integer, .* but got 0"),
        ({"shots": True}, r"`data.shots` to be a positive integer, .* but got True"),
        ({"fraction": 2}, r"`data.fraction` to be between 0 and 1 but got 2"),
        ({"fraction": 0}, r"`data.fraction` to be between 0 and 1 but got 0"),
        ({"shots": 5, "fraction": 0.1}, r"got both, 5 and 0.1"),
    ],
    ids=str,
)
def test_a_setting_that_is_no_part_is_named(data: dict, match: str) -> None:
    with pytest.raises(ConfigurationError, match=match):
        training_part(OmegaConf.create(data))


@pytest.mark.parametrize(
    ("labels", "match"),
    [
        (LABELS, r"each class to have 5 images \(`shots`\) but number 3 has 4"),
        (np.array([-1, -1]), "images with labels"),
    ],
    ids=["few", "no-labels"],
)
def test_a_class_with_too_few_images_is_named(labels: np.ndarray, match: str) -> None:
    with pytest.raises(ConfigurationError, match=match):
        Part(shots=5).places(labels, draw=0)


@pytest.mark.parametrize("image_format", ["image_folder", "dali"])
@pytest.mark.parametrize("dataset", ["digits", "custom"])
def test_all_readers_see_the_same_images(
    dataset: str, image_format: str, folder: Path, augmentation: Make
) -> None:
    shots = {"shots": 2, "fraction": -1}
    paths = dict.fromkeys(("train_path", "val_path"), str(folder))
    cfg = OmegaConf.create(
        {
            "data": {
                "dataset": dataset,
                "format": image_format,
                "preload": False,
                **paths,
                **shots,
            },
            "augmentations": [augmentation(crop_size=8)],
            "optimizer": {"batch_size": 4},
            "seed": 1,
        }
    )
    cfg.data.num_workers, cfg.data.no_labels = 0, False
    data = LabelledDataModule(cfg, augment=False)
    if dataset == "digits":
        digits = Digits(train=True)
        all_pixels, labels = digits.images[..., None].repeat(3, axis=3), digits.targets
    else:
        all_pixels, labels = None, np.repeat([0, 1], 12)
    wanted = Part(shots=2).places(labels, draw=1)
    assert data.num_train_images == len(wanted)
    if image_format == "dali":
        images = data.dali_images(train=True)
        np.testing.assert_array_equal(images.targets, labels[wanted])
        if all_pixels is not None:
            np.testing.assert_array_equal(images.pixels, all_pixels[wanted])
        return
    found = torch.cat([targets for _, targets in data.every_image(train=True)])
    np.testing.assert_array_equal(found, labels[wanted])
    assert len(data.train_set) == len(wanted)
    assert len(data.val_set) == (360 if dataset == "digits" else 24)
