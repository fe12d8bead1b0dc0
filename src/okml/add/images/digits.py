"""Handwritten digits: 1,797 gray images of 8 by 8 pixels that come with scikit-learn."""

from __future__ import annotations

import hashlib

import numpy as np
import sklearn
import torch
from sklearn.datasets import load_digits

from okml.add.images.base import Images, ImageSet, shrink, stratified
from okml.ledger import DataUsed

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
DARKEST = 16  # a pixel counts how many of 16 points of the scan are ink
SIDE = 8  # pixels
TEST_SHARE = 0.2


def load(size: int) -> ImageSet:
    """Return the digits at ``size`` by ``size`` pixels, at most 8."""
    raw = load_digits()
    pixels = torch.from_numpy(raw.images[:, None].astype(np.float32)) / (DARKEST / 2) - 1
    labels = raw.target.astype(np.int64)
    captions = tuple(NAMES[label] for label in labels)
    everything = Images(shrink(pixels, size), torch.from_numpy(labels), captions)
    train, test = stratified(labels, TEST_SHARE)
    content = hashlib.sha256(raw.data.tobytes() + raw.target.tobytes()).hexdigest()
    return ImageSet(
        name="digits",
        train=everything.take(train),
        test=everything.take(test),
        classes=NAMES,
        used={"digits": DataUsed(source=f"scikit-learn {sklearn.__version__}", sha256=content)},
    )
