"""Fashion-MNIST (Xiao et al., 2017): 70,000 gray photos of clothes in ten classes."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from okml.add.images.base import Images, ImageSet, shrink
from okml.data import entry, fetch, fetched_from
from okml.data.images import read_idx
from okml.ledger import DataUsed

CLASSES = (
    "t-shirt", "trouser", "pullover", "dress", "coat",
    "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip
# SHA-256 of the decompressed files: the archives of mirrors were compressed anew.
CONTENT = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
PADDED = 32  # 28 and a frame of 2, so that sizes halve evenly


def load(size: int) -> ImageSet:
    """Return the clothes at ``size`` by ``size`` pixels, at most 32."""
    paths = fetch("fashion_mnist")
    parts = {name: read_idx(paths[f"{name}.gz"], CONTENT[name]) for name in CONTENT}
    used = {
        f"fashion_mnist/{file}": DataUsed(source=origin.source, sha256=origin.sha256)
        for file, origin in fetched_from("fashion_mnist").items()
    }
    return ImageSet(
        name="fashion",
        train=_images(parts["train-images-idx3-ubyte"], parts["train-labels-idx1-ubyte"], size),
        test=_images(parts["t10k-images-idx3-ubyte"], parts["t10k-labels-idx1-ubyte"], size),
        classes=CLASSES,
        used=used,
        notice=entry("fashion_mnist").license.notice,
    )


def _images(raw: NDArray[np.uint8], labels: NDArray[np.uint8], size: int) -> Images:
    frame = (PADDED - raw.shape[-1]) // 2
    padded = np.pad(raw, ((0, 0), (frame, frame), (frame, frame)))
    pixels = torch.from_numpy(padded[:, None].astype(np.float32)) / 127.5 - 1
    captions = tuple(CLASSES[label] for label in labels)
    return Images(shrink(pixels, size), torch.from_numpy(labels.astype(np.int64)), captions)
