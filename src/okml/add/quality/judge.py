"""One judge for all samples of an image set."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from torch import Tensor

from okml.add.images import ImageSet
from okml.add.quality.diversity import spread_within_classes
from okml.add.quality.frechet import frechet_distance, gaussian
from okml.add.quality.neighbours import copied_share, support
from okml.add.small.classifier import MetricNetwork


@dataclass(frozen=True)
class Quality:
    """What is measured of a set of samples.

    Attributes:
        fd: Fréchet distance to the training images; lower is better.
        accuracy: Share whose class, as the metric network reads it, is the one asked for. Blurred
            class means reach 1, so it ranks nothing alone.
        spread: Standard deviation of pixels within a class.
        precision: Share that lies among the real images.
        recall: Share of real images that lie among the samples.
        coverage: Share of real images with a sample in their neighbourhood.
        copied: Share nearer to a training image than 95 % of unseen real images are.
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


class Judge:
    """Compares samples with the images of a set.

    Args:
        images: The set.
        network: Trained on its training images, and on nothing else.
    """

    def __init__(self, images: ImageSet, network: MetricNetwork) -> None:
        self.images = images
        self.network = network
        self.real, _ = network.read(images.train.pixels)
        self.moments = gaussian(self.real)

    def __call__(self, samples: Tensor, labels: Tensor) -> Quality:
        """Judge samples.

        Args:
            samples: ``[n, c, s, s]``; values beyond [-1, 1] are clamped, as they would be in a
                picture.
            labels: The class each was asked to show, ``[n]``.
        """
        samples = samples.clamp(-1, 1)
        features, classes = self.network.read(samples)
        found = support(self.real, features)
        train, test = self.images.train.pixels, self.images.test.pixels
        return Quality(
            fd=frechet_distance(self.moments, gaussian(features)),
            accuracy=float((classes == labels).float().mean()),
            spread=spread_within_classes(samples, labels),
            precision=found.precision,
            recall=found.recall,
            coverage=found.coverage,
            copied=copied_share(samples, test, train),
        )
