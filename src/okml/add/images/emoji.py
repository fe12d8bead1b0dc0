"""Captioned color pictures: the Noto emoji with their Unicode names as captions."""

from __future__ import annotations

import json

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from okml.add.images.base import Images, ImageSet, shrink, stratified
from okml.data import entry, fetch, fetched_from
from okml.ledger import DataUsed

SHEET = "img/google/sheets/64.png"
SIDE, FRAME = 64, 1  # pixels of a picture on the sheet, and of the empty frame around it
# Flags cannot be told from their names at this size; components are parts of other emoji.
LEFT_OUT = ("Flags", "Component")
TEST_SHARE = 0.1


def load(size: int) -> ImageSet:
    """Return the emoji at ``size`` by ``size`` pixels, at most 64, on white.

    One picture an emoji: variants of skin tone are left out, so that no near copy of a training
    image is in the test.
    """
    paths = fetch("noto_emoji")
    listed = json.loads(paths["emoji.json"].read_text(encoding="utf-8"))
    chosen = [
        item for item in listed if item["has_img_google"] and item["category"] not in LEFT_OUT
    ]
    classes = tuple(sorted({item["category"] for item in chosen}))
    labels = np.array([classes.index(item["category"]) for item in chosen], dtype=np.int64)
    with Image.open(paths[SHEET]) as sheet:
        white = Image.new("RGBA", sheet.size, "white")
        drawn = np.asarray(Image.alpha_composite(white, sheet.convert("RGBA")).convert("RGB"))
    pictures = np.stack([_cut(drawn, item["sheet_x"], item["sheet_y"]) for item in chosen])
    pixels = torch.from_numpy(pictures.transpose(0, 3, 1, 2).astype(np.float32)) / 127.5 - 1
    captions = tuple(item["name"].lower() for item in chosen)
    everything = Images(shrink(pixels, size), torch.from_numpy(labels), captions)
    train, test = stratified(labels, TEST_SHARE)
    return ImageSet(
        name="emoji",
        train=everything.take(train),
        test=everything.take(test),
        classes=classes,
        used={
            f"noto_emoji/{file}": DataUsed(source=origin.source, sha256=origin.sha256)
            for file, origin in fetched_from("noto_emoji").items()
        },
        notice=entry("noto_emoji").license.notice,
    )


def _cut(sheet: NDArray[np.uint8], column: int, row: int) -> NDArray[np.uint8]:
    """Return one picture of the sheet, ``[64, 64, 3]``."""
    pitch = SIDE + 2 * FRAME
    top, left = row * pitch + FRAME, column * pitch + FRAME
    return sheet[top : top + SIDE, left : left + SIDE]
