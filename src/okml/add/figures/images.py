"""Sheets of small images."""

from __future__ import annotations

import base64
import io
import textwrap
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import polars as pl
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from okml.add.images.base import as_bytes
from okml.plotting import INK, Picture, style, text_length

LETTERS = 17  # average letters in an inch of a caption
LINE = 0.12  # inches of each of its lines but the first
GAP = 0.04  # inches between pictures
NAME = 9  # points of the name of a row
MARGIN = 0.15  # inches before it, since other fonts are wider
NONE = "no such pictures at this scale"


def as_picture(png: str) -> NDArray[np.float64]:
    """Return an image of a frame as matplotlib draws it, in [0, 1], ``[s, s, 3]``."""
    with Image.open(io.BytesIO(base64.b64decode(png))) as image:
        return np.asarray(image.convert("RGB"), dtype=np.float64) / 255


def as_png(image: Tensor) -> str:
    """Return an image ``[c, s, s]`` in [-1, 1] as PNG in base64, so that a record can keep it."""
    buffer = io.BytesIO()
    Image.fromarray(as_bytes(image)).save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


def frame(rows: Mapping[str, Tensor], captions: Sequence[str], image_set: str = "") -> pl.DataFrame:
    """Return rows of images as :func:`sheet` takes them, with a caption for each column.

    The images ``[n, c, s, s]`` of each row, by its name, are in [-1, 1]; others are clamped.
    """
    return pl.DataFrame(
        [
            {
                "set": image_set,
                "row": name,
                "column": column,
                "caption": captions[column],
                "png": as_png(one),
            }
            for name, pixels in rows.items()
            for column, one in enumerate(pixels.detach().cpu())
        ]
    )


def sheet(frame: pl.DataFrame, alt: str, size: float = 0.72) -> Picture:
    """Draw pictures in rows, with captions in lines as wide as a picture.

    Captions are above the first row only where all rows share them, else above each. The rows of a
    frame of :func:`frame` are drawn in their order of appearance, and a picture is ``size`` inches
    wide. A sheet without pictures has another text alternative.
    """
    if frame.is_empty():
        with style():
            figure = plt.figure(figsize=(4.0, 0.3))
            figure.text(0.0, 0.5, NONE, va="center", color=INK)
        return Picture(figure, NONE, empty=True)
    names = frame["row"].unique(maintain_order=True).to_list()
    columns = int(frame["column"].max()) + 1  # type: ignore[arg-type]
    shared = frame.group_by("column").agg(pl.col("caption").n_unique())["caption"].max() == 1
    told = {each: textwrap.fill(each, int(LETTERS * size)) for each in frame["caption"].unique()}
    above = 0.2 + LINE * max(each.count("\n") for each in told.values())
    pitch = size + GAP + above * (not shared)
    left = MARGIN + max(text_length(name, NAME) for name in names) / 72 + GAP
    width, height = left + (size + GAP) * columns, above * shared + pitch * len(names)
    with style():
        figure = plt.figure(figsize=(width, height), layout="none")
        # An inch is a unit, so one pair of axes does for all; a pair for each takes far longer.
        axes = figure.add_axes((0, 0, 1, 1))
        axes.axis("off")
        for place, name in enumerate(names):
            top = above + pitch * place
            axes.text(left - GAP, top + size / 2, name, ha="right", va="center", fontsize=NAME)
            for item in frame.filter(row=name).to_dicts():
                x = left + (size + GAP) * item["column"]
                inside = (x, x + size, top + size, top)
                axes.imshow(as_picture(item["png"]), extent=inside, interpolation="none")
                if place == 0 or not shared:
                    axes.text(
                        x + size / 2, top - 0.03, told[item["caption"]],
                        ha="center", va="bottom", fontsize=7,
                    )  # fmt: skip
        axes.set(xlim=(0, width), ylim=(height, 0))
    return Picture(figure, alt)
