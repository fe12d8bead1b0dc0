"""Training examples in webdataset shards: read by number, and written once with all embeddings.

A shard is an uncompressed tar file whose members share a key up to the first dot:

========================  ======================================================================
``<key>.jpg``             the image, a square of the training resolution
``<key>.json``            caption
``<key>.latents.npy``     mean and log-variance of the autoencoder's posterior, float16
                          ``[2, 4, 64, 64]``
``<key>.text.npy``        c_text, float16 ``[1024]``
``<key>.image.npy``       c_img, float16 ``[1024]``
========================  ======================================================================

Any webdataset reader can stream them. Training reads them by number instead: its order is a
function of the seed, and a resumed run goes on in the middle of an epoch.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from okml.add.full_scale.codec import sample_latents
from okml.add.full_scale.prompts import Tokenize
from okml.add.interfaces import Examples
from okml.data.archives import UNREADABLE
from okml.errors import DataError, ResourceError
from okml.paths import atomic_write
from okml.runtime import progress

REQUIRED = frozenset({"jpg", "json", "latents.npy", "text.npy", "image.npy"})

T = TypeVar("T")


@dataclass(frozen=True)
class ByteRange:
    """Where a member lies inside its shard."""

    offset: int
    size: int


@dataclass(frozen=True)
class Sample:
    """One example: its shard and the places of its members by extension."""

    shard: Path
    members: Mapping[str, ByteRange]

    def read(self, extension: str, parse: Callable[[bytes], T]) -> T:
        """Return the parsed content of a member.

        Raises:
            DataError: If it cannot be read.
        """
        place = self.members[extension]
        try:
            with self.shard.open("rb") as file:
                file.seek(place.offset)
                return parse(file.read(place.size))
        except (OSError, LookupError, TypeError, *UNREADABLE) as error:
            raise DataError(
                f"{self.shard} has a damaged {extension} at byte {place.offset:,}: {error}.",
                "Prepare the shard again.",
            ) from None


def find_shards(folder: Path) -> list[Path]:
    """Return the shards of a folder by name.

    Raises:
        DataError: If there are none.
    """
    shards = sorted(folder.glob("*.tar"))
    if not shards:
        raise DataError(
            f"There are no shards (*.tar) in {folder}.",
            "Write them with `python -m okml.add.full_scale prepare URLS --row ROW`; the guide to "
            "running on a GPU has an example.",
        )
    return shards


def index_shard(shard: Path) -> list[Sample]:
    """Return the examples of a shard in their order.

    Raises:
        DataError: If the file is damaged or an example lacks a member.
    """
    groups: dict[str, dict[str, ByteRange]] = {}
    try:
        with tarfile.open(shard, "r:") as archive:
            for member in archive:
                key, _, extension = member.name.partition(".")
                groups.setdefault(key, {})[extension] = ByteRange(member.offset_data, member.size)
    except (OSError, *UNREADABLE) as error:
        raise DataError(f"{shard} is no readable shard: {error}.", "Write it again.") from None
    for key, members in groups.items():
        if missing := REQUIRED - members.keys():
            raise DataError(
                f"Example {key} of {shard} lacks {', '.join(sorted(missing))}.",
                "Prepare the shards again with this version of okml.",
            )
    return [Sample(shard, members) for members in groups.values()]


class ShardBatches:
    """A batch source for :func:`okml.training.fit` over prepared shards on a local disk.

    Args:
        shards: The shard files of :func:`find_shards`.
        latent_scale: The autoencoder's ``scaling_factor``.
        tokenize: The tokenizer of each text tower; the towers run in training.
        teacher_tokenize: The tokenizers of a teacher of another family; empty for the student's.
    """

    def __init__(
        self,
        shards: Sequence[Path],
        latent_scale: float,
        tokenize: Sequence[Tokenize],
        teacher_tokenize: Sequence[Tokenize] = (),
    ) -> None:
        self.samples = [
            sample for shard in progress(shards, "shards") for sample in index_shard(shard)
        ]
        self.latent_scale = latent_scale
        self.tokenize = tuple(tokenize)
        self.teacher_tokenize = tuple(teacher_tokenize)
        if not self.samples:
            raise DataError("The shards hold no example.", "Prepare shards from more images.")

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.samples)

    @property
    def text_width(self) -> int:
        """The width of c_text."""
        return len(self.samples[0].read("text.npy", _array))

    @property
    def image_width(self) -> int:
        """The width of c_img."""
        return len(self.samples[0].read("image.npy", _array))

    def batch(self, indices: NDArray[np.int64], rng: np.random.Generator) -> Examples:
        """Return a micro-batch; latents are drawn from their posterior with ``rng``."""
        chosen = [self.samples[int(index)] for index in indices]
        moments = torch.from_numpy(_stacked(chosen, "latents.npy"))  # [B, 2, c, h, w]
        shape = (len(chosen), *moments.shape[2:])
        noise = torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))
        captions = [sample.read("json", _caption) for sample in chosen]
        return Examples(
            images=torch.stack([sample.read("jpg", _pixels) for sample in chosen]),
            condition=token_ids(captions, self.tokenize),
            seed=int(rng.integers(2**62)),
            latents=sample_latents(moments, self.latent_scale, noise),
            text=torch.from_numpy(_stacked(chosen, "text.npy")).float(),
            image=torch.from_numpy(_stacked(chosen, "image.npy")).float(),
            teacher_condition=(
                token_ids(captions, self.teacher_tokenize) if self.teacher_tokenize else None
            ),
        )


def token_ids(captions: Sequence[str], tokenize: Sequence[Tokenize]) -> dict[str, Tensor]:
    """Return ``input_ids`` of the first text tower, ``input_ids_2`` of the second, ``[B, 77]``."""
    names = ("input_ids", "input_ids_2")
    return {name: each(captions) for name, each in zip(names, tokenize, strict=False)}


def _stacked(samples: Sequence[Sample], extension: str) -> NDArray[Any]:
    return np.stack([sample.read(extension, _array) for sample in samples])


def _caption(content: bytes) -> str:
    return str(json.loads(content)["caption"])


def _array(content: bytes) -> NDArray[Any]:
    array: NDArray[Any] = np.load(io.BytesIO(content))
    return array


def _pixels(content: bytes) -> Tensor:
    """Return an image ``[3, H, W]`` in [-1, 1]."""
    with Image.open(io.BytesIO(content)) as image:
        pixels = torch.from_numpy(np.asarray(image.convert("RGB"), dtype=np.float32).copy())
    return pixels.permute(2, 0, 1) / 127.5 - 1


def square(image: Image.Image, side: int) -> Image.Image:
    """Return the central square, its shorter side resized to ``side`` (bicubic, antialiased)."""
    scale = side / min(image.size)
    width, height = (max(side, round(length * scale)) for length in image.size)
    resized = image.convert("RGB").resize((width, height), Image.Resampling.BICUBIC)
    left, top = (width - side) // 2, (height - side) // 2
    return resized.crop((left, top, left + side, top + side))


def raw_shards(urls: str) -> list[str]:
    """Return the raw shards that a pattern with braces names, in their order.

    Raises:
        ResourceError: If webdataset is not installed.
    """
    try:
        from webdataset.shardlists import expand_urls
    except ImportError:
        raise ResourceError(
            "Reading raw shards needs webdataset.", 'Install it with `pip install "okml[add]"`.'
        ) from None
    return list(expand_urls(urls))


def stream_pairs(url: str) -> Iterator[tuple[Image.Image, str]]:
    """Stream images and captions from a raw webdataset shard (``jpg`` or ``png``, and ``txt``).

    Pairs that cannot be decoded are skipped.

    Args:
        url: A file or an address, as webdataset takes it.
    """
    import webdataset

    # Every process streams its own shards whole, so webdataset has nothing to share out.
    source = webdataset.WebDataset(
        url, shardshuffle=False, empty_check=False, nodesplitter=None, workersplitter=None
    )
    pairs = source.decode("pil", handler=webdataset.ignore_and_continue)
    yield from pairs.to_tuple("jpg;png", "txt", handler=webdataset.ignore_and_continue)


def write_shard(examples: Iterable[Mapping[str, Any]], path: Path) -> None:
    """Write examples to a shard, which appears once it is whole; an error leaves no file.

    Args:
        examples: The members by extension, each with a ``__key__``.
        path: The file; its folder is created if it does not exist.
    """
    import webdataset

    with atomic_write(path, "wb") as file, webdataset.TarWriter(file) as writer:
        for example in examples:
            writer.write(dict(example))
