"""The probe beside the truth, its controls, fewer dimensions and other model sizes."""

from __future__ import annotations

from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
import polars as pl

from okml.plotting import INK, Picture, by_color, dots, line_beside_rows, style
from okml.space_time.figures.common import mean_by, median, require, thinned, title, titled


def timeline(rows: pl.DataFrame, caption: str) -> Picture:
    """Draw probed years against true years with the line of perfect reading (Figure 1, right).

    Args:
        rows: Columns ``entity``, ``year``, ``year_probed``.
        caption: A name for what was probed; part of the text alternative.
    """
    require(rows, "dates")
    shown = thinned(rows)
    labels = [
        f"{row['entity']}: {row['year']:.0f}, read as {row['year_probed']:.0f}"
        for row in shown.iter_rows(named=True)
    ]
    low, high = float(shown["year"].min()), float(shown["year"].max())  # type: ignore[arg-type]
    with style():
        figure, axes = plt.subplots(figsize=(6, 4.4))
        axes.plot([low, high], [low, high], color=INK, linewidth=0.8, linestyle="--", alpha=0.6)
        points = axes.scatter(shown["year"], shown["year_probed"], s=12, alpha=0.55, linewidths=0)
        axes.set(xlabel="true year", ylabel="year read by the probe")
    error = median((rows["year"] - rows["year_probed"]).abs())
    alt = (
        f"Years read by a linear probe against true years for {shown.height} {caption}; half are "
        f"within {error:.1f} years."
    )
    return Picture(figure, alt, {points: labels})


def controls(rows: pl.DataFrame) -> Picture:
    """Draw the probe beside everything that could explain it without a map.

    Args:
        rows: Columns ``set``, ``features``, ``seed``, ``r2``.
    """
    require(rows, "controls")
    sets = rows["set"].unique(maintain_order=True).to_list()
    names = rows["features"].unique(maintain_order=True).to_list()
    mean = rows.group_by("set", "features").agg(pl.col("r2").mean())
    with style():
        group = max(0.42, 0.11 * len(sets))  # inches; a bar must stay visible among many sets
        figure, axes = plt.subplots(figsize=(8.5, 0.9 + group * len(names)))
        height = 0.8 / len(sets)
        for index, (color, name, _) in enumerate(by_color(rows, "set")):
            values = dict(mean.filter(set=name).select("features", "r2").iter_rows())
            where = np.arange(len(names)) + index * height
            axes.barh(
                where,
                [max(values.get(key, np.nan), -0.1) for key in names],
                height,
                color=color,
                label=title(name),
            )
        axes.set_yticks(np.arange(len(names)) + 0.4 - height / 2, names)
        axes.invert_yaxis()
        axes.axvline(0, color=INK, linewidth=0.8)
        axes.set(xlabel="test R² (bars are cut at −0.1)")
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    facts = "; ".join(
        f"{title(row['set'])}, {row['features']}: {row['r2']:.2f}"
        for row in mean.sort("set", "r2", descending=[False, True]).iter_rows(named=True)
    )
    return Picture(figure, f"Test R² of the probe and of its controls. {facts}.")


def gain_over_cheap(rows: pl.DataFrame) -> Picture:
    """Draw the R² that the language model adds to the best cheap explanation of each set.

    Args:
        rows: Columns ``set``, ``question``, ``cheap`` (which explanation), ``difference``, ``low``
            and ``high``; the rows about R² are drawn, with their 95 % intervals.
    """
    shown = titled(rows.filter(question="R²")).with_columns(
        label=pl.format("{}: {}", "set", "cheap")
    )
    require(shown, "margins")
    with style():
        figure, axes = plt.subplots(figsize=(4.4, 0.7 + 0.4 * shown.height))
        dots(axes, shown, "difference", "label", above=True)
        line_beside_rows(axes, shown.height, 0)
        axes.set_xlabel("gain of test R² over the best cheap explanation")
    facts = "; ".join(
        f"{row['set']} {row['difference']:.2f} [{row['low']:.2f}, {row['high']:.2f}] beside "
        f"{row['cheap']}"
        for row in shown.to_dicts()
    )
    return Picture(figure, f"What the language model adds to cheap explanations, in R²: {facts}.")


def principal_components(rows: pl.DataFrame) -> Picture:
    """Draw R² and rank correlation against the number of principal components (Figure 4).

    Args:
        rows: Columns ``set``, ``seed``, ``components``, ``r2``, ``rho``.
    """
    require(rows, "components")
    with style():
        figure, panels = plt.subplots(1, 2, figsize=(9.5, 3.8), sharex=True)
        for axes, metric, label in zip(
            panels, ("r2", "rho"), ("test R²", "test Spearman ρ"), strict=True
        ):
            for name in rows["set"].unique(maintain_order=True):
                curve = mean_by(rows.filter(set=name), "components", metric)
                axes.plot(curve["components"], curve[metric], "o-", ms=3, label=title(name))
            axes.set(xscale="log", xlabel="principal components kept", ylabel=label)
        panels[1].legend(loc="center left", bbox_to_anchor=(1, 0.5))
    mean = rows.group_by("set", "components").agg(pl.col("rho").mean()).sort("set", "components")
    facts = ", ".join(
        f"{title(part['set'][0])} {part['rho'][0]:.2f} with {part['components'][0]} and "
        f"{part['rho'][-1]:.2f} with all {part['components'][-1]}"
        for part in mean.partition_by("set", maintain_order=True)
    )
    return Picture(
        figure,
        "R² and rank correlation of the probe against the number of principal components it may "
        f"use. Rank correlation: {facts}.",
    )


def model_sizes(rows: pl.DataFrame) -> Picture:
    """Draw the R² of each model against its parameters, beside the paper's values.

    Args:
        rows: Columns ``source`` (``measured`` or ``paper``), ``model``, ``family``,
            ``parameters``, ``set``, ``r2``; the mean over seeds is drawn, a line a family.
    """
    require(rows, "models")
    means = rows.group_by(
        "set", "source", "family", "model", "parameters", maintain_order=True
    ).agg(pl.col("r2").mean())
    markers = {"measured": "os^vD", "paper": "x"}
    with style():
        figure, axes = plt.subplots(figsize=(7.5, 4))
        for color, name, own in by_color(means, "set"):
            for source, shapes in markers.items():
                lines = own.filter(source=source).partition_by("family", maintain_order=True)
                for shape, line in zip(cycle(shapes), lines, strict=False):
                    drawn = line.sort("parameters")
                    axes.plot(
                        drawn["parameters"], drawn["r2"], color=color, marker=shape,
                        linestyle="-" if source == "measured" else "--",
                        label=f"{title(name)}, {line['family'][0]}, {source}",
                    )  # fmt: skip
        axes.set(xscale="log", xlabel="parameters", ylabel="test R²")
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    measured = ", ".join(
        f"{title(r['set'])} {r['r2']:.2f} ({title(r['model'])})"
        for r in means.filter(source="measured").iter_rows(named=True)
    )
    return Picture(figure, f"R² against model size. Measured: {measured}; the paper's beside.")
