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


@cache
def load_images(name: ImageSetName, size: int) -> ImageSet:
    """Return an image set at ``size`` by ``size`` pixels.

    Raises:
        DataError: If its files cannot be had.
        ParameterError: If the images are smaller than ``size``.
    """
    return IMAGE_SETS[name](size)
