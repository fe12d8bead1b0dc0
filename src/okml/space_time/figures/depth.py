"""Accuracy against depth: by layer, by spelling, by prompt (Figures 2 and 3 of the paper)."""

from __future__ import annotations

import matplotlib.pyplot as plt
import polars as pl

from okml.plotting import Picture, by_color, style
from okml.space_time.figures.common import mean_by, require, title


def accuracy_by_layer(layers: pl.DataFrame) -> Picture:
    """Draw R² against depth, one curve a set, the band over seeds (Figure 2).

    Args:
        layers: Columns ``set``, ``model`` (``trained`` or ``untrained``), ``seed``, ``depth`` (0 to
            1; embedding below 0) and ``r2``.
    """
    r2 = pl.col("r2")
    require(layers, "layers")
    with style():
        figure, axes = plt.subplots(figsize=(7.5, 4.2))
        for color, name, own in by_color(layers, "set"):
            for model, dash in (("trained", "-"), ("untrained", ":")):
                rows = own.filter(model=model)
                if rows.is_empty():
                    continue
                curve = (
                    rows.group_by("depth")
                    .agg(mean=r2.mean(), low=r2.min(), high=r2.max())
                    .sort("depth")
                )
                suffix = "" if model == "trained" else ", untrained weights"
                axes.plot(
                    curve["depth"], curve["mean"], dash, color=color, label=title(name) + suffix
                )
                axes.fill_between(
                    curve["depth"], curve["low"], curve["high"], color=color, alpha=0.15, lw=0
                )
        axes.set(xlabel="depth in the network (0: first block, 1: last)", ylabel="test R²")
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    best = layers.filter(model="trained").group_by("set").agg(r2.max())
    facts = ", ".join(f"{title(row['set'])} {row['r2']:.2f}" for row in best.sort("set").to_dicts())
    return Picture(figure, f"test R² of linear probes against depth. Best values: {facts}.")


def accuracy_by_spelling(rows: pl.DataFrame) -> Picture:
    """Draw R² by depth for names that spell their region and for bare names, n-grams beside.

    Args:
        rows: Columns ``features``, ``depth`` (null for n-grams), ``names``, ``r2``.
    """
    prompts = [f for f in rows["features"].unique(maintain_order=True) if f.startswith("prompt")]
    facts = []
    with style():
        figure, axes = plt.subplots(figsize=(7.5, 4.2))
        for color, names, own in by_color(rows, "names"):
            best = []
            for dash, features in zip(("-", "--"), prompts, strict=False):
                curve = mean_by(own.filter(features=features), "depth", "r2")
                axes.plot(
                    curve["depth"], curve["r2"], dash, color=color, label=f"{names}, {features}"
                )
                best.append(curve["r2"].to_numpy().max())
            letters = own.filter(pl.col("depth").is_null())["r2"].to_numpy().mean()
            axes.axhline(letters, color=color, linestyle=":", lw=1, label=f"{names}, n-grams")
            facts.append(f"{names} {max(best):.2f}, n-grams {letters:.2f}")
        axes.set(xlabel="depth in the network (0: first block, 1: last)", ylabel="test R²")
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8)
    return Picture(
        figure,
        f"Test R² by depth, split by whether the name spells its region. Best: {'; '.join(facts)}.",
    )


def prompts(rows: pl.DataFrame) -> Picture:
    """Draw R² by depth for each prompt variant (Figure 3).

    Args:
        rows: Columns ``set``, ``prompt``, ``seed``, ``depth``, ``r2``.
    """
    require(rows, "prompts")
    sets = rows["set"].unique(maintain_order=True).to_list()
    with style():
        columns = min(2, len(sets))  # a row of more would be too small to read
        rows_of_panels = -(-len(sets) // columns)
        figure, grid = plt.subplots(
            rows_of_panels, columns, figsize=(5.2 * columns, 3.8 * rows_of_panels),
            sharey=True, squeeze=False,
        )  # fmt: skip
        for unused in grid.flat[len(sets) :]:
            unused.remove()
        for axes, name in zip(grid.flat, sets, strict=False):
            chosen = rows.filter(set=name)
            for prompt in chosen["prompt"].unique(maintain_order=True):
                curve = mean_by(chosen.filter(prompt=prompt), "depth", "r2")
                axes.plot(curve["depth"], curve["r2"], label=prompt)
            axes.set(title=title(name), xlabel="depth in the network")
            axes.legend()
        for axes in grid[:, 0]:
            axes.set_ylabel("test R²")
    means = rows.group_by("set", "prompt", "depth").agg(pl.col("r2").mean())
    best = means.group_by("set", "prompt").agg(pl.col("r2").max()).sort("set", "prompt")
    facts = ", ".join(
        f"{title(r['set'])} {r['prompt']} {r['r2']:.2f}" for r in best.iter_rows(named=True)
    )
    return Picture(figure, f"R² against depth for each prompt. Best values: {facts}.")
