"""The quality of generated images, by features of a network that no training has seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from okml.add.frechet import frechet_distance, moments
from okml.add.images import ImageSet
from okml.add.small.classifier import MetricNetwork

NEIGHBOURS = 3  # neighbors that make a neighborhood
PENALTY = 0.1  # ridge penalty, for features of unit variance
CHUNK = 1000  # images compared with the training images at a time
TOLD = 2000  # images at most of each kind in a two-sample test


@dataclass(frozen=True)
class Quality:
    """The measures of a set of samples.

    Attributes:
        fd: The Fréchet distance to the training images; lower is better.
        accuracy: The share whose class, as the metric network reads it, is the one asked for.
            Blurred class means reach 1, so it ranks nothing alone.
        alignment: The share of other captions that fit an image less than the one asked for; chance
            is a half.
        spread: The standard deviation of pixels within a caption.
        precision: The share of samples that lies among the real images.
        recall: The share of real images that lies among the samples.
        coverage: The share of real images with a sample in their neighborhood.
        told_apart: The accuracy of the two-sample test with unseen images; a half is chance.
    """

    fd: float
    accuracy: float
    alignment: float
    spread: float
    precision: float
    recall: float
    coverage: float
    told_apart: float


@dataclass(frozen=True)
class EvaluatedImages:
    """A set of samples, one by one.

    Attributes:
        quality: The measures of the whole set.
        features: The features in which the distance is taken, ``[n, d]``.
        right: The accuracy of each sample, 0 or 1, ``[n]``.
        aligned: The alignment of each sample, ``[n]``.
        spread: The samples' parts of the spread, ``[n]``; see :func:`spread_within_classes`.
        told_apart: Whether the two-sample test is right of each sample and of each unseen image, 0
            or 1, ``[2 k]``; see :func:`two_sample_test`.
    """

    quality: Quality
    features: Tensor
    right: NDArray[np.float64]
    aligned: NDArray[np.float64]
    spread: NDArray[np.float64]
    told_apart: NDArray[np.float64]


class ImageEvaluator:
    """Compares samples with the images of a set.

    The network runs on its own device, where the training images lie, too.

    Args:
        network: A network trained on the training images of the set alone.
        prompts: The vectors of the training captions, ``[m, d]``.
    """

    def __init__(self, images: ImageSet, network: MetricNetwork, prompts: Tensor) -> None:
        self.images = images
        self.network = network
        self.real, _ = network.read(images.train.pixels)
        self.moments = moments(self.real)
        self.captioner = Captioner(self.real, prompts)
        self.around = radius(self.real)
        self.training = images.train.pixels.to(network.head.weight.device)
        self.unseen = images.test.pixels.to(network.head.weight.device)

    def distance(self, features: Tensor) -> float:
        """Return the Fréchet distance of features ``[n, d]`` to those of the training images."""
        return frechet_distance(self.moments, moments(features))

    def __call__(self, samples: Tensor, labels: Tensor, prompts: Tensor) -> EvaluatedImages:
        """Judge samples.

        Args:
            samples: Images ``[n, c, s, s]``; values beyond [-1, 1] are clamped, as they would be in
                a picture.
            labels: The class each was asked to show, ``[n]``.
            prompts: The vector of the caption of each, ``[n, d]``.
        """
        samples = samples.clamp(-1, 1)
        features, classes = self.network.read(samples)
        right = (classes == labels).double().numpy()
        captions, asked = torch.unique(prompts, dim=0, return_inverse=True)
        aligned = self.captioner.alignment(features, captions, asked).numpy()
        spread = spread_within_classes(samples, asked).numpy()
        told_apart = two_sample_test(samples, self.unseen).numpy()
        quality = Quality(
            fd=self.distance(features),
            accuracy=float(right.mean()),
            alignment=float(aligned.mean()),
            spread=float(spread.mean()),
            **overlap(self.real, self.around, features),
            told_apart=float(told_apart.mean()),
        )
        return EvaluatedImages(quality, features, right, aligned, spread, told_apart)


class Captioner:
    """A linear map from the features of an image to the vector of its caption, by ridge regression.

    The metric network has learned classes alone; the map reads off it what of a caption it sees.

    Args:
        features: The features of the training images, ``[m, f]``.
        prompts: The vectors of their captions, ``[m, d]``.
    """

    def __init__(self, features: Tensor, prompts: Tensor) -> None:
        x, y = features.double(), prompts.double()
        self.mean, self.scale, self.centre = x.mean(0), x.std(0).clamp_min(1e-6), y.mean(0)
        x = (x - self.mean) / self.scale
        gram = x.T @ x + PENALTY * len(x) * torch.eye(x.shape[1], dtype=x.dtype)
        self.weight = torch.linalg.solve(gram, x.T @ (y - self.centre))  # [f, d]

    def alignment(self, features: Tensor, captions: Tensor, asked: Tensor) -> Tensor:
        """Return for each image the share of the other captions that fit it less.

        A caption fits by the cosine of its vector and the one that the image is mapped to, both
        without the mean of the training captions.

        Args:
            features: The features of the images, ``[n, f]``.
            captions: The vectors of all captions asked for, ``[k, d]``.
            asked: The row in ``captions`` of each image, ``[n]``.
        """
        seen = (features.double() - self.mean) / self.scale @ self.weight
        told = captions.double() - self.centre
        fit = functional.normalize(seen, dim=1) @ functional.normalize(told, dim=1).T  # [n, k]
        own = fit.gather(1, asked[:, None])
        return (fit < own).double().sum(1) / max(1, len(captions) - 1)


def spread_within_classes(images: Tensor, labels: Tensor) -> Tensor:
    """Return the standard deviation of pixels within a class, an image's part of it for each.

    The mean over the images is the spread: the standard deviation of each pixel between the
    images of a class, mean over pixels and classes. A generator that paints the mean of each
    class has none. An image's part is the spread with its influence on it added, so that the
    variance of the mean is that of the spread (the delta method).

    Args:
        images: ``[n, c, s, s]``.
        labels: The class each was asked to show, ``[n]``.

    Returns:
        ``[n]``; zeros in a class of one image.
    """
    parts, classes = torch.zeros(len(images), dtype=torch.float64), torch.unique(labels)
    for label in classes:
        members = images[labels == label].flatten(1).double()
        count = len(members)
        if count > 1:
            deviation = members.std(0)
            squares = (members - members.mean(0)) ** 2 * count / (count - 1)
            # sd + (square - sd^2) / 2 sd, whose mean is sd; a pixel that never changes has none.
            own = (deviation + squares / deviation.clamp_min(1e-12)) / 2
            weight = len(images) / (count * len(classes))
            parts[labels == label] = weight * own.mean(1)
    return parts


def overlap(real: Tensor, around_real: Tensor, generated: Tensor) -> dict[str, float]:
    """Return precision, recall and coverage, shares in [0, 1], of two sets of features.

    Precision and recall are those of Kynkäänniemi et al. (2019): a point lies among a set if it
    is within the k-th neighbor distance of one of its points. Coverage is that of Naeem et al.
    (2020).

    Args:
        real: The features of real images, ``[n, d]``.
        around_real: The distance of each to its k-th neighbor, ``[n]``; see :func:`radius`.
        generated: The features of generated images, ``[m, d]``.
    """
    between = torch.cdist(real, generated)  # [n, m]
    inside_real = between <= around_real[:, None]
    return {
        "precision": float(inside_real.any(0).float().mean()),
        "recall": float((between <= radius(generated)).any(1).float().mean()),
        "coverage": float(inside_real.any(1).float().mean()),
    }


def two_sample_test(samples: Tensor, real: Tensor) -> Tensor:
    """Tell samples from real images by the nearest other image, and return where that is right.

    The test is that of Lopez-Paz and Oquab (2017) with one neighbor, in pixels, each image left out
    in turn. Samples of the same distribution are told in half of the cases, a set whose moments
    alone are right in more; samples that repeat the real images in fewer.

    Args:
        samples: ``[n, c, s, s]``.
        real: Images that no network was trained on, ``[m, c, s, s]``, on the device that computes.

    Returns:
        0 or 1 for each of the first k of both, ``[2 k]``, k the least of n, m and ``TOLD``; float64
        on the CPU.
    """
    count = min(len(samples), len(real), TOLD)
    both = torch.cat([samples[:count].to(real.device), real[:count]]).flatten(1)  # [2 k, c s s]
    between = torch.cdist(both, both).fill_diagonal_(torch.inf)
    is_real = torch.arange(2 * count, device=real.device) >= count
    return (is_real[between.argmin(1)] == is_real).double().cpu()


def nearest(images: Tensor, training: Tensor) -> tuple[Tensor, Tensor]:
    """Return for each image its nearest training image.

    Args:
        images: ``[n, c, s, s]``.
        training: ``[m, c, s, s]``, on the device that computes.

    Returns:
        Root mean square difference of pixels, ``[n]``, and the row in ``training``, ``[n]``, both
        on the CPU.
    """
    flat = training.flatten(1)
    parts = (part.flatten(1).to(flat.device) for part in torch.split(images, CHUNK))
    found = [torch.cdist(part, flat).min(1) for part in parts]
    distance = torch.cat([part.values for part in found]) / flat.shape[1] ** 0.5
    return distance.cpu(), torch.cat([part.indices for part in found]).cpu()


def radius(points: Tensor) -> Tensor:
    """Return the distance of each point to its k-th neighbor, itself not counted, ``[n]``."""
    return torch.cdist(points, points).kthvalue(NEIGHBOURS + 1, dim=1).values
