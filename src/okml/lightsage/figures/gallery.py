"""Figure of related items with their titles."""

from __future__ import annotations

import textwrap

import matplotlib.pyplot as plt
import polars as pl
from matplotlib.axes import Axes

from okml.plotting import PALETTE, Picture, style

WIDTH = 34  # largest number of characters of a title


def related(gallery: pl.DataFrame) -> Picture:
    """Draw the first related films of each film by each method; a bar is a film's popularity.

    Args:
        gallery: Columns ``by``, ``film``, ``place``, ``related``, ``clicks``.
    """
    films = gallery["film"].unique(maintain_order=True).to_list()
    methods = gallery["by"].unique(maintain_order=True).to_list()
    shown = int(gallery["place"].max() or 1)  # type: ignore[arg-type]
    most = int(gallery["clicks"].max() or 1)  # type: ignore[arg-type]
    with style():
        figure, panels = plt.subplots(
            len(films), len(methods), figsize=(10.5, len(films) * (0.27 * shown + 0.55)),
            squeeze=False,
        )  # fmt: skip
        for row, film in enumerate(films):
            for column, method in enumerate(methods):
                axes = panels[row][column]
                _list(axes, gallery.filter(film=film, by=method), most, PALETTE[column])
                if row == 0:
                    axes.set_title(method, fontweight="bold", pad=20)
            panels[row][0].text(
                0, -0.75, f"next to {film}", fontsize=9.5, style="italic", clip_on=False
            )
    facts = "; ".join(
        f"{film}, {method}: {', '.join(gallery.filter(film=film, by=method)['related'])}"
        for film in films
        for method in methods
    )
    return Picture(figure, f"Related films. {facts}.")


def _list(axes: Axes, rows: pl.DataFrame, most: int, color: str) -> None:
    places = rows["place"].to_numpy() - 1
    axes.barh(places, rows["clicks"] / most, color=color, alpha=0.25, height=0.86)
    for place, title in zip(places, rows["related"], strict=True):
        short = textwrap.shorten(title, WIDTH, placeholder="…")
        axes.text(0.01, place, short, va="center", fontsize=8.5)
    axes.set(xlim=(0, 1), ylim=(len(rows) - 0.5, -0.5), xticks=[], yticks=[])
    axes.grid(visible=False)
    for side in axes.spines.values():
        side.set_visible(False)
