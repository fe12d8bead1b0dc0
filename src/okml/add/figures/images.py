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
from okml.plotting import INK, Picture, style

LETTERS = 17  # average letters in an inch of a caption
LINE = 0.12  # inches of each of its lines but the first
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
    """Return rows of images as :func:`sheet` takes them.

    Args:
        rows: Images in [-1, 1] by the name of their row, ``[n, c, s, s]``; others are clamped.
        captions: The text above each column.
        image_set: The name of the image set.
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

    Captions are above the first row only where all rows share them, else above each.

    Args:
        frame: A frame of :func:`frame`; rows are drawn in their order of appearance.
        alt: The text alternative; a sheet without pictures has another.
        size: The side of a picture in inches.
    """
    if frame.is_empty():
        return _without()
    names = frame["row"].unique(maintain_order=True).to_list()
    columns = int(frame["column"].max()) + 1  # type: ignore[arg-type]
    shared = frame.group_by("column").agg(pl.col("caption").n_unique())["caption"].max() == 1
    told = {each: textwrap.fill(each, int(LETTERS * size)) for each in frame["caption"].unique()}
    more = LINE * max(each.count("\n") for each in told.values())
    height = size + (0.04 if shared else 0.2 + more)
    with style():
        figure, grid = plt.subplots(
            len(names), columns,
            figsize=(size * columns + 1.5, height * len(names) + 0.3 + more * shared),
            squeeze=False,
        )  # fmt: skip
        for axes in grid.flat:
            axes.set_xticks([])
            axes.set_yticks([])
            axes.grid(visible=False)
            for spine in axes.spines.values():
                spine.set_visible(False)
        for place, name in enumerate(names):
            for item in frame.filter(row=name).to_dicts():
                axes = grid[place, item["column"]]
                axes.imshow(as_picture(item["png"]), interpolation="nearest")
                if place == 0 or not shared:
                    axes.set_title(told[item["caption"]], fontsize=7, pad=2)
            grid[place, 0].set_ylabel(
                name, rotation=0, ha="right", va="center", fontsize=9, color=INK
            )
    return Picture(figure, alt)


def _without() -> Picture:
    """Return a line that says that a scale has no such pictures."""
    with style():
        figure = plt.figure(figsize=(4.0, 0.3))
        figure.text(0.0, 0.5, NONE, va="center", color=INK)
    return Picture(figure, NONE, empty=True)
