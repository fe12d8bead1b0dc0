"""A slider over sampling steps and seeds that needs no script: radio buttons and style sheets."""

from __future__ import annotations

import base64
import hashlib
import html
import io
from collections.abc import Sequence

import numpy as np
import polars as pl
from PIL import Image

from okml.add.figures.images import as_picture
from okml.errors import ParameterError

WIDE = 700  # screen pixels of a row, at most
GAP = 2  # image pixels between pictures


class StepSlider:
    """Rows of samples, one visible at a time, chosen by a row of stops and a row of seeds.

    It works in a static page, with the keyboard (arrow keys move between stops) and without
    scripts; without style sheets all rows are visible. A frame of
    :func:`okml.add.figures.images.frame` has the ``seed`` of each row besides. The text alternative
    comes without the name of the row.

    Raises:
        ParameterError: If there are no rows.
    """

    def __init__(self, frame: pl.DataFrame, alt: str) -> None:
        if frame.is_empty():
            raise ParameterError("There are no samples to slide over.")
        self.names = frame["row"].unique(maintain_order=True).to_list()
        self.seeds = frame["seed"].unique(maintain_order=True).to_list()
        self.alt = alt
        self.strips = {
            (name, seed): _strip(frame.filter(row=name, seed=seed).sort("column"))
            for seed in self.seeds
            for name in self.names
        }

    def _repr_html_(self) -> str:
        content = "".join((*self.names, *self.strips.values()))
        key = "s" + hashlib.sha256(content.encode()).hexdigest()[:8]
        rules = [
            f".{key} fieldset{{border:0;padding:0;margin:0}}",
            f".{key} input{{margin:0 .3em 0 0}}",
            f".{key} label{{display:inline-block;margin-right:1em;white-space:nowrap}}",
            f".{key} img{{display:none;image-rendering:pixelated;max-width:100%;margin-top:.6em}}",
        ]
        pictures = []
        for (name, seed), strip in self.strips.items():
            row, noise = self.names.index(name), self.seeds.index(seed)
            of_seed = f":has(.seed{noise}:checked)" if len(self.seeds) > 1 else ""
            rules.append(
                f".{key}:has(.row{row}:checked){of_seed} .at{row}_{noise}{{display:block}}"
            )
            alt = html.escape(f"{self.alt}: {name}, seed {seed}")
            pictures.append(
                f'<img class="at{row}_{noise}" alt="{alt}" src="data:image/png;base64,{strip}">'
            )
        return (
            f'<div class="okml-steps {key}"><style>{"".join(rules)}</style>'
            f"{_stops(key, 'row', self.alt, self.names)}"
            f"{_stops(key, 'seed', 'Seed', self.seeds) if len(self.seeds) > 1 else ''}"
            f"{''.join(pictures)}</div>"
        )

    def __repr__(self) -> str:
        return f"{self.alt}: {', '.join(self.names)}"


def _stops(key: str, kind: str, legend: str, values: Sequence[object]) -> str:
    """Return radio buttons for values, the first one chosen."""
    buttons = [
        f'<label><input type="radio" name="{key}{kind}" class="{kind}{number}"'
        f"{' checked' if number == 0 else ''}>{html.escape(str(value))}</label>"
        for number, value in enumerate(values)
    ]
    return f"<fieldset><legend>{html.escape(legend)}</legend>{''.join(buttons)}</fieldset>"


def _strip(rows: pl.DataFrame) -> str:
    """Return the pictures of a row side by side as PNG in base64."""
    pictures = [as_picture(png) for png in rows["png"]]
    side = pictures[0].shape[0]
    spaced = np.full((side, len(pictures) * (side + GAP) - GAP, 4), 0.0)  # gaps are transparent
    for number, picture in enumerate(pictures):
        left = number * (side + GAP)
        spaced[:, left : left + side, :3] = picture
        spaced[:, left : left + side, 3] = 1
    scale = max(1, WIDE // spaced.shape[1])
    enlarged = spaced.repeat(scale, 0).repeat(scale, 1)
    buffer = io.BytesIO()
    Image.fromarray((255 * enlarged).round().astype(np.uint8)).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()
