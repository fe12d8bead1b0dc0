"""The small real image sets of the chapter: digits, clothes, emoji."""

from okml.add.images.base import Images, ImageSet
from okml.add.images.load import IMAGE_SETS, LARGEST_SIZES, ImageSetName, load_images

__all__ = ["IMAGE_SETS", "LARGEST_SIZES", "ImageSet", "ImageSetName", "Images", "load_images"]
