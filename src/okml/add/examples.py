"""Batches of real images with their conditions, held in memory."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from okml.add.interfaces import Examples
from okml.errors import DataError


class ExampleBatches:
    """A batch source for :func:`okml.training.fit` over tensors.

    Args:
        images: ``[N, C, H, W]`` in [-1, 1].
        condition: ``[N, ...]`` each.
        text: The text embeddings c_text, ``[N, D]``.
        image: The image embeddings c_img, ``[N, D]``.

    Raises:
        DataError: If lengths differ.
    """

    def __init__(
        self,
        images: Tensor,
        condition: Mapping[str, Tensor],
        *,
        text: Tensor | None = None,
        image: Tensor | None = None,
    ) -> None:
        self.images = images
        self.condition = dict(condition)
        self.text, self.image = text, image
        given = [*self.condition.values()]
        given += [value for value in (text, image) if value is not None]
        lengths = {len(images), *(len(value) for value in given)}
        if len(lengths) > 1:
            raise DataError(f"Images and conditions differ in number: {sorted(lengths)}.")

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.images)

    def batch(self, indices: NDArray[np.int64], rng: np.random.Generator) -> Examples:
        """Return the examples ``indices``; ``rng`` gives the seed of their noise."""
        rows = torch.from_numpy(indices)
        return Examples(
            images=self.images[rows],
            condition={name: value[rows] for name, value in self.condition.items()},
            seed=int(rng.integers(2**62)),
            text=None if self.text is None else self.text[rows],
            image=None if self.image is None else self.image[rows],
        )
