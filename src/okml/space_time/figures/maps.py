"""Maps: where places are, where the probe puts them, and where it errs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import polars as pl
from matplotlib.artist import Artist
from matplotlib.axes import Axes

from okml.data import fetch
from okml.plotting import INK, PALETTE, Picture, label_points, style
from okml.space_time.figures.common import median, require, thinned

FEWEST = 5  # test places of a region whose median error is drawn
REGIONS = 24  # regions of that figure
Outline = Sequence[np.ndarray]  # polylines [points, 2] of (longitude, latitude) in degrees


def true_and_probed_map(places: pl.DataFrame, outline: Outline, caption: str) -> Picture:
    """Draw where test places are beside where the probe puts them, colored by longitude.

    Args:
        places: Columns ``entity``, ``region``, ``longitude``, ``latitude`` (degrees),
            ``longitude_probed``, ``latitude_probed``, ``error_km``.
        outline: The coastlines to draw.
        caption: A name for what was probed; part of the text alternative.
    """
    require(places, "places")
    shown = thinned(places.sort("error_km"))
    labels = [
        f"{row['entity']} ({row['region']}): off by {row['error_km']:,.0f} km"
        for row in shown.iter_rows(named=True)
    ]
    hover: dict[Artist, list[str]] = {}
    with style():
        figure, panels = plt.subplots(1, 2, figsize=(11, 3.4), sharex=True, sharey=True)
        for axes, suffix, heading in zip(
            panels, ("", "_probed"), ("where they are", "where the probe puts them"), strict=True
        ):
            _draw_outline(axes, outline)
            points = axes.scatter(
                shown[f"longitude{suffix}"], shown[f"latitude{suffix}"], c=shown["longitude"],
                cmap="turbo", s=14, linewidths=0,
            )  # fmt: skip
            hover[points] = labels
            axes.grid(visible=False)
            axes.set(title=heading, xlabel="longitude, °", xlim=(-180, 180), ylim=(-60, 85))
        panels[0].set_ylabel("latitude, °")
    error = median(places["error_km"])
    alt = (
        f"Two world maps of {shown.height} {caption}, colored by true longitude. Left: where they "
        f"are. Right: where a linear probe puts them, half of them within {error:,.0f} km."
    )
    return Picture(figure, alt, hover)


def _draw_outline(axes: Axes, outline: Outline) -> None:
    """Draw all coastlines as one line with gaps, which matplotlib thins to what can be seen."""
    gap = np.full((1, 2), np.nan)
    line = np.concatenate([part for piece in outline for part in (piece, gap)])
    axes.plot(line[:, 0], line[:, 1], color=INK, linewidth=0.4, alpha=0.35)


def held_out_blocks(rows: pl.DataFrame, outline: Outline) -> Picture:
    """Draw each held-out country: its true center, its predicted center and the training mean.

    Where there is no room for all names, the first rows have theirs; tooltips have every name.

    Args:
        rows: Columns ``block``, ``true_x``, ``true_y``, ``predicted_x``, ``predicted_y``,
            ``mean_x``, ``mean_y`` (degrees), ``cosine``; the largest block first.
        outline: The coastlines to draw.
    """
    require(rows, "held-out regions")
    names = [name.replace("_", " ") for name in rows["block"]]
    labels = [
        f"{name}: cosine {cosine:.2f}" for name, cosine in zip(names, rows["cosine"], strict=True)
    ]
    with style():
        figure, axes = plt.subplots(figsize=(9, 4.4))
        _draw_outline(axes, outline)
        for row in rows.iter_rows(named=True):
            axes.annotate(
                "",
                (row["predicted_x"], row["predicted_y"]),
                (row["true_x"], row["true_y"]),
                arrowprops={"arrowstyle": "->", "color": PALETTE[1], "lw": 0.9, "alpha": 0.6},
            )
        centers = axes.scatter(
            rows["true_x"], rows["true_y"], s=22, color=PALETTE[0], label="true center"
        )
        axes.scatter(
            rows["predicted_x"], rows["predicted_y"], s=14, color=PALETTE[1],
            label="center predicted without ever seeing it",
        )  # fmt: skip
        axes.scatter(
            rows["mean_x"].mean(), rows["mean_y"].mean(), marker="x", s=60, color=PALETTE[2],
            label="mean of the training places",
        )  # fmt: skip
        axes.set(xlabel="longitude, °", ylabel="latitude, °", xlim=(-180, 180), ylim=(-60, 85))
        axes.legend(loc="lower left", fontsize=8)
        label_points(axes, rows["true_x"], rows["true_y"], names, crowded=True)
    return Picture(
        figure,
        f"World map with {rows.height} held-out regions: arrows lead from the true center to the "
        f"center predicted by a probe that never saw the region; the mean cosine of the "
        f"displacements is {np.nanmean(rows['cosine'].to_numpy()):.2f}.",
        {centers: labels},
    )


def errors_by_region(rows: pl.DataFrame) -> Picture:
    """Draw the median error of the regions with the most test places (great circle, km).

    Args:
        rows: Columns ``region``, ``error_km``; one row a test entity.
    """
    table = (
        rows.group_by("region")
        .agg(pl.len().alias("count"), pl.col("error_km").median())
        .filter(pl.col("count") >= FEWEST)
    )
    require(table, f"regions with {FEWEST} test places")
    # The best and the worst of many regions would be those with few places, by chance.
    largest = table.sort("count", "region", descending=[True, False]).head(REGIONS)
    shown = largest.sort("error_km").with_columns(pl.col("region").str.replace_all("_", " "))
    labels = [f"{row['region']} ({row['count']})" for row in shown.iter_rows(named=True)]
    with style():
        figure, axes = plt.subplots(figsize=(7.5, 0.8 + 0.22 * shown.height))
        axes.barh(labels, shown["error_km"], color=PALETTE[0])
        axes.invert_yaxis()
        axes.set(xlabel="median error, km (in brackets: test places)")
    worst, best = shown.row(-1, named=True), shown.row(0, named=True)
    return Picture(
        figure,
        f"Median error of {shown.height} regions, from {best['error_km']:,.0f} km in "
        f"{best['region']} to {worst['error_km']:,.0f} km in {worst['region']}.",
    )


def decode_arcs(topology: dict[str, Any]) -> list[np.ndarray]:
    """Return the arcs of a topology as lines of (longitude, latitude) in degrees, [points, 2].

    TopoJSON stores an arc as integer steps from its first point; the topology's transform turns
    them into degrees (TopoJSON specification, 2.1.2 and 2.1.4).
    """
    scale = np.array(topology["transform"]["scale"])
    origin = np.array(topology["transform"]["translate"])
    return [np.cumsum(np.array(arc), axis=0) * scale + origin for arc in topology["arcs"]]


@cache
def world_outline() -> tuple[np.ndarray, ...]:
    """Return the outlines of the world's countries, cut where one jumps across the date line."""
    (path,) = (p for p in fetch("world_outline").values() if Path(p).suffix == ".json")
    lines = decode_arcs(json.loads(path.read_text(encoding="utf-8")))
    whole = []
    for line in lines:
        jumps = np.flatnonzero(np.abs(np.diff(line[:, 0])) > 180) + 1
        whole += [part for part in np.split(line, jumps) if len(part) > 1]
    return tuple(whole)
