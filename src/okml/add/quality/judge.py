"""One judge for all samples of an image set."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from okml.add.images import ImageSet
from okml.add.quality.diversity import spread_within_classes
from okml.add.quality.frechet import frechet_distance, gaussian
from okml.add.quality.neighbours import copy_limit, nearest, radius, support
from okml.add.small.classifier import MetricNetwork


@dataclass(frozen=True)
class Quality:
    """What is measured of a set of samples.

    Attributes:
        fd: The Fréchet distance to the training images; lower is better.
        accuracy: The share whose class, as the metric network reads it, is the one asked for.
            Blurred
            class means reach 1, so it ranks nothing alone.
        spread: The standard deviation of pixels within a class.
        precision: The share of samples that lies among the real images.
        recall: The share of real images that lies among the samples.
        coverage: The share of real images with a sample in their neighbourhood.
        copied: The share nearer to a training image than 95 % of unseen real images are.
    """

    fd: float
    accuracy: float
    spread: float
    precision: float
    recall: float
    coverage: float
    copied: float

    def row(self) -> dict[str, float]:
        """Return the measures by name."""
        return asdict(self)


@dataclass(frozen=True)
class EvaluatedImages:
    """A set of samples, one by one.

    Attributes:
        quality: The measures of the whole set.
        features: The features in which the distance is taken, ``[n, d]``.
        right: The accuracy of each sample, 0 or 1, ``[n]``.
        spread: The samples' parts of the spread, ``[n]``; see :func:`spread_within_classes`.
        copied: An indicator, 1 where the sample counts as copied, ``[n]``.
    """

    quality: Quality
    features: Tensor
    right: NDArray[np.float64]
    spread: NDArray[np.float64]
    copied: NDArray[np.float64]


class ImageEvaluator:
    """Compares samples with the images of a set.

    Args:
        network: A network trained on the training images of the set alone.
    """

    def __init__(self, images: ImageSet, network: MetricNetwork) -> None:
        self.images = images
        self.network = network
        self.real, _ = network.read(images.train.pixels)
        self.moments = gaussian(self.real)
        self.around = radius(self.real)
        self.limit = copy_limit(images.test.pixels, images.train.pixels)

    def distance(self, features: Tensor) -> float:
        """Return the Fréchet distance of features ``[n, d]`` to those of the training images."""
        return frechet_distance(self.moments, gaussian(features))

    def __call__(self, samples: Tensor, labels: Tensor) -> EvaluatedImages:
        """Judge samples.

        Args:
            samples: Images ``[n, c, s, s]``; values beyond [-1, 1] are clamped, as they would be in
                a
                picture.
            labels: The class each was asked to show, ``[n]``.
        """
        samples = samples.clamp(-1, 1)
        features, classes = self.network.read(samples)
        found = support(self.real, features, around_real=self.around)
        right = (classes == labels).double().numpy()
        spread = spread_within_classes(samples, labels).numpy()
        distance, _ = nearest(samples, self.images.train.pixels)
        near = (distance < self.limit).double().numpy()
        quality = Quality(
            fd=self.distance(features),
            accuracy=float(right.mean()),
            spread=float(spread.mean()),
            precision=found.precision,
            recall=found.recall,
            coverage=found.coverage,
            copied=float(near.mean()),
        )
        return EvaluatedImages(quality, features, right, spread, near)
