"""Embeddings and latents of a stream of captioned images, computed once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from okml.add.full_scale.codec import LatentCodec
from okml.add.full_scale.prompts import Tokenize
from okml.add.full_scale.shards import PROMPT, square, token_ids

Pair = tuple[Image.Image, str]


@dataclass(frozen=True)
class Encoders:
    """The networks that encode an example.

    Attributes:
        codec: The codec of the student.
        text: The text tower that maps token numbers to c_text.
        text_tokenize: The tokenizer of ``text``.
        image: The network that maps images in [-1, 1] to c_img.
        prompts: The UNet's text towers; None if they run in training.
        tokenize: The tokenizer of each of these towers.
    """

    codec: LatentCodec
    text: nn.Module
    text_tokenize: Tokenize
    image: nn.Module
    prompts: nn.Module | None = None
    tokenize: Sequence[Tokenize] = ()

    def to(self, device: torch.device) -> Encoders:
        """Move the networks."""
        for network in (self.codec, self.text, self.image, self.prompts):
            if network is not None:
                network.to(device).requires_grad_(False)
        return self


def usable(pair: Pair, side: int, shortest: int = 3) -> bool:
    """Tell whether an image is at least ``side`` on both sides and its caption long enough."""
    image, caption = pair
    return min(image.size) >= side and len(caption.split()) >= shortest


@torch.no_grad()
def encode_pairs(
    pairs: Iterable[Pair],
    encoders: Encoders,
    device: torch.device,
    side: int = 512,
    batch: int = 16,
) -> Iterator[dict[str, Any]]:
    """Yield encoded examples as :func:`okml.add.full_scale.shards.write_shards` takes them.

    Args:
        pairs: Images and captions; unusable ones are left out.
        encoders: The encoders, on ``device``.
        device: The device of the encoders.
        side: The side of the square images in pixels.
        batch: The number of examples encoded at a time.
    """
    waiting: list[Pair] = []
    number = 0
    for pair in pairs:
        if not usable(pair, side):
            continue
        waiting.append((square(pair[0], side), pair[1]))
        if len(waiting) == batch:
            yield from _encoded(waiting, encoders, device, number)
            number += len(waiting)
            waiting = []
    if waiting:
        yield from _encoded(waiting, encoders, device, number)


def _encoded(
    pairs: Sequence[Pair], encoders: Encoders, device: torch.device, first: int
) -> Iterator[dict[str, Any]]:
    images = torch.stack([_tensor(image) for image, _ in pairs]).to(device)
    captions = [caption for _, caption in pairs]
    columns = {
        "latents.npy": _half(encoders.codec.moments(images)),
        "text.npy": _half(encoders.text(encoders.text_tokenize(captions).to(device))),
        "image.npy": _half(encoders.image(images)),
    }
    prompts: dict[str, Any] = {}
    if encoders.prompts is not None:
        ids = {
            name: value.to(device) for name, value in token_ids(captions, encoders.tokenize).items()
        }
        prompts = {name: _half(value) for name, value in encoders.prompts(ids).items()}
    for row, (image, caption) in enumerate(pairs):
        example = {
            "__key__": f"{first + row:09d}",
            "jpg": image,
            "json": {"caption": caption},
            **{name: column[row] for name, column in columns.items()},
        }
        if prompts:
            example[PROMPT] = {name: column[row] for name, column in prompts.items()}
        yield example


def _tensor(image: Image.Image) -> Tensor:
    pixels = torch.from_numpy(np.asarray(image, dtype=np.float32).copy())
    return pixels.permute(2, 0, 1) / 127.5 - 1


def _half(value: Tensor) -> np.ndarray[Any, Any]:
    return value.half().cpu().numpy()
