"""A slider over sampling steps that needs no script: radio buttons and style sheets."""

from __future__ import annotations

import base64
import hashlib
import html
import io

import numpy as np
import polars as pl
from PIL import Image

from okml.add.figures.images import as_picture
from okml.errors import ParameterError

SCALE = 6  # screen pixels of an image pixel
GAP = 2  # image pixels between pictures


class StepSlider:
    """Rows of samples from the same noise, one visible at a time, chosen by a row of stops.

    Works in a static page, with the keyboard (arrow keys move between stops) and without
    scripts; without style sheets all rows are visible.

    Args:
        frame: A frame of :func:`okml.add.figures.images.frame`.
        alt: The text alternative, without the name of the row.

    Raises:
        ParameterError: If there are no rows.
    """

    def __init__(self, frame: pl.DataFrame, alt: str) -> None:
        if frame.is_empty():
            raise ParameterError("There are no samples to slide over.")
        self.names = frame["row"].unique(maintain_order=True).to_list()
        self.alt = alt
        self.strips = [_strip(frame.filter(row=name).sort("column")) for name in self.names]

    def _repr_html_(self) -> str:
        key = "s" + hashlib.sha256("".join((*self.names, *self.strips)).encode()).hexdigest()[:8]
        rules = [
            f".{key} input{{margin:0 .3em 0 0}}",
            f".{key} label{{display:inline-block;margin-right:1em;white-space:nowrap}}",
            f".{key} img{{display:none;image-rendering:pixelated;max-width:100%;margin-top:.6em}}",
        ]
        stops, pictures = [], []
        for number, (name, strip) in enumerate(zip(self.names, self.strips, strict=True)):
            rules.append(f".{key}:has(.stop{number}:checked) .row{number}{{display:block}}")
            checked = " checked" if number == 0 else ""
            stops.append(
                f'<label><input type="radio" name="{key}" class="stop{number}"{checked}>'
                f"{html.escape(name)}</label>"
            )
            pictures.append(
                f'<img class="row{number}" alt="{html.escape(f"{self.alt}: {name}")}" '
                f'src="data:image/png;base64,{strip}">'
            )
        return (
            f'<div class="okml-steps {key}"><style>{"".join(rules)}</style>'
            f'<fieldset style="border:0;padding:0;margin:0">'
            f"<legend>{html.escape(self.alt)}</legend>"
            f"{''.join(stops)}</fieldset>{''.join(pictures)}</div>"
        )

    def __repr__(self) -> str:
        return f"{self.alt}: {', '.join(self.names)}"


def _strip(rows: pl.DataFrame) -> str:
    """Return the pictures of a row side by side as PNG in base64."""
    pictures = [as_picture(item["pixels"], item["shape"]) for item in rows.to_dicts()]
    side = pictures[0].shape[0]
    spaced = np.full((side, len(pictures) * (side + GAP) - GAP, 4), 0.0)  # gaps are transparent
    for number, picture in enumerate(pictures):
        left = number * (side + GAP)
        spaced[:, left : left + side, :3] = picture
        spaced[:, left : left + side, 3] = 1
    enlarged = spaced.repeat(SCALE, 0).repeat(SCALE, 1)
    buffer = io.BytesIO()
    Image.fromarray((255 * enlarged).round().astype(np.uint8)).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()
