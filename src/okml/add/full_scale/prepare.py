"""Embeddings and latents of captioned images, computed once and kept in shards."""

from __future__ import annotations

import io
import json
import tarfile
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.utils import get_int_from_env
from PIL import Image
from torch import Tensor, nn

from okml.accelerator import pick_device
from okml.add.full_scale.codec import LatentCodec
from okml.add.full_scale.models import (
    load_codec,
    load_image_condition,
    load_text_condition,
)
from okml.add.full_scale.prompts import Tokenize
from okml.add.full_scale.settings import EXAMPLES, FullScaleSettings
from okml.add.full_scale.shards import (
    index_shard,
    raw_shards,
    square,
    stream_pairs,
    write_shard,
)
from okml.errors import DataError
from okml.paths import atomic_write
from okml.runtime import progress

Pair = tuple[Image.Image, str]
JPEG_QUALITY = 95  # the discriminator's real images; twice as many bytes at 100


@dataclass(frozen=True)
class Encoders:
    """The networks that encode an example.

    Attributes:
        codec: The codec of the student.
        text: The text tower that maps token numbers to c_text.
        text_tokenize: The tokenizer of ``text``.
        image: The network that maps images in [-1, 1] to c_img.
    """

    codec: LatentCodec
    text: nn.Module
    text_tokenize: Tokenize
    image: nn.Module

    def to(self, device: torch.device) -> Encoders:
        """Move the networks."""
        for network in (self.codec, self.text, self.image):
            network.to(device).requires_grad_(False)
        return self


def prepare(
    settings: FullScaleSettings,
    urls: str,
    examples: int = EXAMPLES,
    *,
    device_name: str = "auto",
) -> list[Path]:
    """Write training shards from raw webdataset shards of captioned images; return the files.

    Each raw shard becomes one prepared shard of its number, so a call goes on where an earlier one
    ended. Under ``accelerate launch`` or ``torchrun``, process r of n takes the raw shards r, r + n
    and so on, up to its share of the examples, and needs nothing of the others. Several processes
    may share a card: one alone reads and writes pictures in turn with the card's work.

    Args:
        settings: The settings of the student, whose autoencoder makes the latents.
        urls: Files, addresses or a pattern with braces, as webdataset takes them.
        examples: The largest number of examples, over all processes.
        device_name: The device as a profile names it.

    Returns:
        The shards of this process.

    Raises:
        DataError: If the folder holds shards of other images or settings, or if raw shards cannot
            be read and the others hold too few examples.
    """
    folder, raw = settings.shard_folder, raw_shards(urls)
    _note_origin(folder, {"urls": urls, "side": settings.side})
    rank, processes = get_int_from_env(["RANK"], 0), get_int_from_env(["WORLD_SIZE"], 1)
    left = examples // processes + (rank < examples % processes)
    encoders, device = cache(_load_encoders), pick_device(device_name)  # nothing if all is done
    written: list[Path] = []
    unread: list[str] = []
    for number in progress(range(rank, len(raw), processes), "raw shards"):
        if left <= 0:
            break
        shard = folder / f"{number:06d}.tar"
        try:
            if not shard.exists():
                pairs = stream_pairs(raw[number])
                own = encoders(settings, device)
                encoded = encode_pairs(pairs, own, device, settings.side, prefix=f"{number:06d}_")
                write_shard(islice(encoded, left), shard)
        except (OSError, tarfile.TarError, EOFError) as error:
            unread.append(f"{raw[number]}: {error}")
            continue
        left -= len(index_shard(shard))
        written.append(shard)
    _tell_unread(unread, left)
    return written


def _note_origin(folder: Path, origin: dict[str, Any]) -> None:
    """Say beside the shards what they were made of, or raise if they were made of something else.

    Raises:
        DataError: If the shards were made of other images or settings.
    """
    note = folder / "origin.json"
    if note.exists() and (before := json.loads(note.read_text(encoding="utf-8"))) != origin:
        raise DataError(
            f"{folder} holds shards of {before}, not of {origin}.",
            "Name another folder in the setting `shards`, or remove this one.",
        )
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_write(note) as file:
        json.dump(origin, file)


def _load_encoders(settings: FullScaleSettings, device: torch.device) -> Encoders:
    codec = load_codec(settings.student)
    return Encoders(codec, *load_text_condition(), load_image_condition()).to(device)


def _tell_unread(unread: Sequence[str], left: int) -> None:
    """Name raw shards that could not be read: a warning, or an error if examples are lacking."""
    if not unread:
        return
    message = f"{len(unread)} raw shards could not be read, the first: {unread[0]}"
    if left > 0:
        raise DataError(
            f"{message}. {left:,} examples are lacking.",
            "Start the same command again; it reads only what is not prepared yet.",
        )
    warnings.warn(message, UserWarning, stacklevel=3)


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
    prefix: str = "",
) -> Iterator[dict[str, Any]]:
    """Yield encoded examples as :func:`okml.add.full_scale.shards.write_shard` takes them.

    Args:
        pairs: Images and captions; unusable ones are left out.
        encoders: The encoders, on ``device``.
        device: The device of the encoders.
        side: The side of the square images in pixels.
        batch: The number of examples encoded at a time.
        prefix: The beginning of the examples' keys, which end in their number.
    """
    waiting: list[Pair] = []
    number = 0
    for pair in pairs:
        if not usable(pair, side):
            continue
        waiting.append((square(pair[0], side), pair[1]))
        if len(waiting) == batch:
            yield from _encoded(waiting, encoders, device, prefix, number)
            number += len(waiting)
            waiting = []
    if waiting:
        yield from _encoded(waiting, encoders, device, prefix, number)


def _encoded(
    pairs: Sequence[Pair], encoders: Encoders, device: torch.device, prefix: str, first: int
) -> Iterator[dict[str, Any]]:
    images = torch.stack([_tensor(image) for image, _ in pairs]).to(device)
    captions = [caption for _, caption in pairs]
    columns = {
        "latents.npy": _half(encoders.codec.moments(images)),
        "text.npy": _half(encoders.text(encoders.text_tokenize(captions).to(device))),
        "image.npy": _half(encoders.image(images)),
    }
    for row, (image, caption) in enumerate(pairs):
        yield {
            "__key__": f"{prefix}{first + row:06d}",
            "jpg": _jpeg(image),
            "json": {"caption": caption},
            **{name: column[row] for name, column in columns.items()},
        }


def _jpeg(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


def _tensor(image: Image.Image) -> Tensor:
    pixels = torch.from_numpy(np.asarray(image, dtype=np.float32).copy())
    return pixels.permute(2, 0, 1) / 127.5 - 1


def _half(value: Tensor) -> np.ndarray[Any, Any]:
    return value.half().cpu().numpy()
