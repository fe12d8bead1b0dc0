"""One way to load any of the image sets."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Literal

from okml.add.images import digits, emoji, fashion
from okml.add.images.base import ImageSet

ImageSetName = Literal["digits", "fashion", "emoji"]
IMAGE_SETS: dict[ImageSetName, Callable[[int], ImageSet]] = {
    "digits": digits.load,
    "fashion": fashion.load,
    "emoji": emoji.load,
}
LARGEST_SIZES: dict[ImageSetName, int] = {
    "digits": digits.SIDE,
    "fashion": fashion.PADDED,
    "emoji": emoji.SIDE,
}


@cache
def load_images(name: ImageSetName, size: int, most: int | None = None) -> ImageSet:
    """Return an image set.

    Args:
        name: The name of the image set.
        size: The height and width in pixels.
        most: The largest number of images of train and of test, the first of a fixed order;
            None: all.

    Raises:
        DataError: If its files cannot be had.
        ParameterError: If the images are smaller than ``size``.
    """
    found = IMAGE_SETS[name](size)
    return found if most is None else found.first(most)
