"""COCO 2017: captions to draw for, and the real images of zero-shot FID (Tables 1 and 2)."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from okml.add.alternatives.gaussians import draw_gaussians
from okml.add.full_scale.scores import GenerationScores
from okml.add.full_scale.shards import square
from okml.add.images import Images
from okml.data import fetch
from okml.errors import DataError
from okml.runtime import progress

CAPTIONS = "annotations/captions_val2017.json"


class Caption(NamedTuple):
    """The one caption of an image that is used as its prompt."""

    image_id: int
    file_name: str
    text: str


def read_captions(content: Mapping[str, Any]) -> list[Caption]:
    """Return one caption for each image, that of the smallest number, by image number.

    The paper does not say which of the five captions it takes.

    Args:
        content: The parsed content of ``captions_val2017.json``.
    """
    first: dict[int, dict[str, Any]] = {}
    for annotation in content["annotations"]:
        image = annotation["image_id"]
        if image not in first or annotation["id"] < first[image]["id"]:
            first[image] = annotation
    names = {image["id"]: image["file_name"] for image in content["images"]}
    return [
        Caption(image, names[image], first[image]["caption"].strip()) for image in sorted(first)
    ]


@dataclass(frozen=True)
class Coco:
    """The validation set: captions, and the archive with the images."""

    captions: tuple[Caption, ...]
    archive: Path

    @classmethod
    def load(cls) -> Coco:
        """Return the set, fetched where it is not here yet.

        Raises:
            DataError: If it cannot be had.
        """
        paths = fetch("coco_val2017")
        with zipfile.ZipFile(paths["annotations_trainval2017.zip"]) as archive:
            content = json.loads(archive.read(CAPTIONS))
        return cls(tuple(read_captions(content)), paths["val2017.zip"])

    def images(self, side: int, batch: int) -> Iterator[Tensor]:
        """Yield the central squares ``[B, 3, side, side]`` in [-1, 1]; how to crop is ours."""
        with zipfile.ZipFile(self.archive) as archive:
            for start in range(0, len(self.captions), batch):
                rows = self.captions[start : start + batch]
                yield torch.stack([_image(archive, row.file_name, side) for row in rows])


def _image(archive: zipfile.ZipFile, name: str, side: int) -> Tensor:
    try:
        content = archive.read(f"val2017/{name}")
    except KeyError:
        raise DataError(f"{archive.filename} has no image {name}.") from None
    with Image.open(io.BytesIO(content)) as image:
        pixels = np.asarray(square(image, side), dtype=np.float32)
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1) / 127.5 - 1


Draw = Callable[[Sequence[Caption]], Tensor]  # prompts to images [B, 3, H, W], about [-1, 1]


def gaussian_drawer(coco: Coco, side: int, own_side: int = 64) -> Draw:
    """Return a sampler of one normal distribution of all images, which reads no caption.

    Args:
        coco: The real images.
        side: The side of the drawn images in pixels.
        own_side: The side at which the distribution is estimated; its draws are enlarged.
    """
    pixels = torch.cat(list(coco.images(own_side, 500)))
    labels = torch.zeros(len(pixels), dtype=torch.int64)
    images = Images(pixels, labels, tuple(row.text for row in coco.captions))

    def draw(rows: Sequence[Caption]) -> Tensor:
        drawn = draw_gaussians(images, labels[: len(rows)], rows[0].image_id)
        return functional.interpolate(drawn, size=side, mode="bilinear")

    return draw


def score_drawings(
    coco: Coco, draw: Draw, scores: GenerationScores, batch: int
) -> dict[str, list[float]]:
    """Draw one image for each caption and return the scores of :meth:`GenerationScores.compute`.

    Args:
        coco: The validation set.
        draw: A function from captions to images.
        scores: The metrics, which have seen the real images.
        batch: The number of images drawn at a time.
    """
    starts = range(0, len(coco.captions), batch)
    for start in progress(starts, "drawing"):
        rows = coco.captions[start : start + batch]
        scores.add_generated(draw(rows), [row.text for row in rows])
    return scores.compute()
