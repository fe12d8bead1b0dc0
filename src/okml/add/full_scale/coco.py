"""Zero-shot FID and CLIP score on COCO 2017, the metrics of Tables 1 and 2."""

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
from torch import Tensor, nn
from torch.nn import functional

from okml.accelerator import require_float64
from okml.add.alternatives.gaussians import draw_gaussians
from okml.add.full_scale.shards import square
from okml.add.images import Images
from okml.data import fetch, local_model
from okml.errors import DataError, ResourceError
from okml.runtime import progress

GROUPS = 10  # of drawn batches, each left out once: a FID takes long
Clip = Callable[[], tuple[Any, Any]]  # returns a CLIP model and its processor
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


class GenerationScores:
    """FID and CLIP score by torchmetrics, fed in batches.

    Args:
        inception: The feature network of images in [0, 1]; None for torchmetrics' Inception-v3,
            whose weights torch-fidelity fetches.
        clips: Functions that return a CLIP model and its processor, by suffix of the score. One of
            another family than c_text shows how independent the score is.

    Raises:
        ResourceError: If torchmetrics, or torch-fidelity for Inception, is not installed.
    """

    def __init__(
        self,
        device: torch.device,
        inception: nn.Module | None = None,
        clips: Mapping[str, Clip] | None = None,
    ) -> None:
        try:
            from torchmetrics.image.fid import FrechetInceptionDistance
            from torchmetrics.multimodal.clip_score import CLIPScore

            # Their sums are changed by hand below, which a kept result would not notice.
            self.fid = FrechetInceptionDistance(
                feature=inception or 2048, normalize=True, reset_real_features=False,
                compute_with_cache=False,
            )  # fmt: skip
            self.clips = {
                suffix: CLIPScore(load, compute_with_cache=False).to(device)
                for suffix, load in (clips or {}).items()
            }
        except ModuleNotFoundError as error:
            raise ResourceError(
                f"FID and CLIP score need {error.name or 'torchmetrics and torch-fidelity'}.",
                'Install them with `pip install "okml[add]"`.',
            ) from None
        # The square root of a product of covariances needs float64.
        require_float64(device, "Distances between distributions of images")
        self.fid.to(device).set_dtype(torch.float64)
        self.device = device
        self.groups: list[list[Tensor]] = []  # sums of each group of generated batches
        self.batches = 0

    def add_real(self, images: Tensor) -> None:
        """Take in real images in [-1, 1]."""
        self.fid.update(_unit(images).to(self.device), real=True)

    def add_generated(self, images: Tensor, prompts: Sequence[str]) -> None:
        """Take in generated images and the prompts they were drawn for."""
        before = self._sums()
        unit = _unit(images).to(self.device)
        self.fid.update(unit, real=False)
        for clip in self.clips.values():
            clip.update((unit * 255).round().byte(), list(prompts))
        added = [new - old for new, old in zip(self._sums(), before, strict=True)]
        if self.batches < GROUPS:
            self.groups.append(added)
        else:
            group = self.groups[self.batches % GROUPS]
            for kept, more in zip(group, added, strict=True):
                kept += more
        self.batches += 1

    def compute(self) -> dict[str, list[float]]:
        """Return ``fid`` and each ``clip_score``, which are cosines and not 100 times those.

        Each is a list: the score of everything, then without each group of batches. What was
        generated is forgotten after that; the real images stay.
        """
        whole, scores = self._sums(), [self._scores()]
        for group in self.groups if len(self.groups) > 1 else []:
            self._set([total - part for total, part in zip(whole, group, strict=True)])
            scores.append(self._scores())
        for metric in (self.fid, *self.clips.values()):
            metric.reset()
        self.groups, self.batches = [], 0
        return {name: [found[name] for found in scores] for name in scores[0]}

    def _scores(self) -> dict[str, float]:
        clips = {f"clip_score{end}": float(clip.compute()) for end, clip in self.clips.items()}
        return {
            "fid": float(self.fid.compute()),
            **{name: value / 100 for name, value in clips.items()},
        }

    def _states(self) -> list[tuple[Any, str]]:
        """Return where torchmetrics keeps its sums over generated images."""
        ends = ("sum", "cov_sum", "num_samples")
        return [
            *((self.fid, f"fake_features_{end}") for end in ends),
            *((clip, name) for clip in self.clips.values() for name in ("score", "n_samples")),
        ]

    def _sums(self) -> list[Tensor]:
        return [getattr(metric, name).clone() for metric, name in self._states()]

    def _set(self, sums: Sequence[Tensor]) -> None:
        for (metric, name), value in zip(self._states(), sums, strict=True):
            setattr(metric, name, value)


def clip_from(name: str) -> Clip:
    """Return a function that loads the CLIP model and processor of a catalog entry."""

    def load() -> tuple[Any, Any]:
        from transformers import CLIPModel, CLIPProcessor

        folder = local_model(name)
        return CLIPModel.from_pretrained(folder).eval(), CLIPProcessor.from_pretrained(folder)

    return load


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


def _unit(images: Tensor) -> Tensor:
    return ((images.float() + 1) / 2).clamp(0, 1)
