# SPDX-License-Identifier: MIT
"""The handwritten digits that scikit-learn bundles: real images without a download."""

__all__ = ["Digits"]

from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.utils.data import Dataset


class Digits(Dataset):
    """1,797 handwritten digits of 8 x 8 pixels, as RGB images.

    A fifth of them, stratified by class and always the same, is the test set.

    Args:
        train: the 1,437 training images, or the 360 test images.
        transform: a function of a PIL image.

    Example:
        >>> image, target = Digits(train=False)[0]
        >>> image.size, image.mode, len(Digits(train=True)), len(Digits(train=False))
        ((8, 8), 'RGB', 1437, 360)

    References:
        E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI 1998.
    """

    classes = tuple(str(digit) for digit in range(10))

    def __init__(
        self, *, train: bool, transform: Callable[[Image.Image], Any] | None = None
    ) -> None:
        images, targets = load_digits(return_X_y=True)
        split = train_test_split(images, targets, test_size=0.2, stratify=targets, random_state=0)
        pixels, self.targets = (split[0], split[2]) if train else (split[1], split[3])
        # The values are counts from 0 to 16.
        self.images = np.round(pixels.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
        self.transform = transform

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        image: Any = Image.fromarray(self.images[index]).convert("RGB")
        if self.transform is not None:
            image = self.transform(image)
        return image, int(self.targets[index])
