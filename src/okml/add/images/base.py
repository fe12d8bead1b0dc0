"""Image sets: pixels, classes, captions, and a split into training and test images."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from okml.errors import ParameterError
from okml.ledger import DataUsed

SPLIT_SEED = 0  # one split for all seeds, so that runs are compared on the same images


@dataclass(frozen=True)
class Images:
    """One side of a split.

    Attributes:
        pixels: The pixels in [-1, 1], float32 ``[n, c, s, s]``.
        labels: The class numbers, int64 ``[n]``.
        captions: The caption of each image.
    """

    pixels: Tensor
    labels: Tensor
    captions: tuple[str, ...]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.labels)

    def take(self, rows: NDArray[np.int64]) -> Images:
        """Return the images with the numbers ``rows``."""
        chosen = torch.from_numpy(rows)
        captions = tuple(self.captions[row] for row in rows)
        return Images(self.pixels[chosen], self.labels[chosen], captions)


@dataclass(frozen=True)
class ImageSet:
    """Real images to learn from and to compare with.

    Attributes:
        name: The name of the image set.
        train: The images that all networks learn from.
        test: The images that only metrics use.
        classes: The names of the classes.
        used: The files behind the images, for the record.
        notice: The attribution that is shown beside results; may be empty.
    """

    name: str
    train: Images
    test: Images
    classes: tuple[str, ...]
    used: dict[str, DataUsed]
    notice: str = ""

    def first(self, most: int) -> ImageSet:
        """Return the set with ``most`` images at most on each side of the split."""
        rng = np.random.default_rng(SPLIT_SEED)
        train, test = (
            part.take(np.sort(rng.permutation(len(part))[:most]))
            for part in (self.train, self.test)
        )
        return replace(self, train=train, test=test)

    @property
    def channels(self) -> int:
        """1 for gray images, 3 for color."""
        return self.train.pixels.shape[1]

    @property
    def size(self) -> int:
        """Height and width in pixels."""
        return self.train.pixels.shape[2]


def shrink(pixels: Tensor, size: int) -> Tensor:
    """Return images averaged down to ``size`` by ``size``, each pixel the mean of its area.

    Args:
        pixels: ``[n, c, s, s]``.
        size: The new side in pixels, at most ``s``.

    Raises:
        ParameterError: If the images are smaller than that.
    """
    here = pixels.shape[-1]
    if size > here:
        raise ParameterError(f"The images have {here} pixels a side; {size} were asked for.")
    return pixels if size == here else functional.interpolate(pixels, size=size, mode="area")


def as_bytes(image: Tensor) -> NDArray[np.uint8]:
    """Return an image ``[c, s, s]`` in [-1, 1] as pictures have it, ``[s, s]`` or ``[s, s, 3]``."""
    unit = (image.clamp(-1, 1) + 1) / 2
    pixels: NDArray[np.uint8] = (255 * unit).round().byte().permute(1, 2, 0).squeeze(2).numpy()
    return pixels


def stratified(labels: NDArray[np.int64], test_share: float) -> tuple[NDArray[np.int64], ...]:
    """Return the numbers of the images of train and of test, each class split by the same share.

    The split is the same in each run.

    Args:
        labels: The class of each image, ``[n]``.
        test_share: The share of each class that is test.
    """
    rng = np.random.default_rng(SPLIT_SEED)
    train, test = [], []
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        cut = round(test_share * len(rows))
        test.append(rows[:cut])
        train.append(rows[cut:])
    return rng.permutation(np.concatenate(train)), np.sort(np.concatenate(test))
