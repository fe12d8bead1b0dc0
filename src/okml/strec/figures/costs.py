"""Time, memory and operations (Table 3 and Figure 5 of the paper)."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import polars as pl

from okml.plotting import INK, PALETTE, Picture, style

PARTS = {
    "projection": "projections (Q, K, V, output)",
    "attention": "attention (QKᵀ and AV)",
    "feed_forward": "feed-forward network",
    "scoring": "scores of all items",
}


def breakdown(rows: pl.DataFrame) -> Picture:
    """Draw the operations of the backbone and STRec by part, at several lengths.

    Args:
        rows: Columns ``length``, ``encoder``, ``part``, ``MFLOP``.
    """
    lengths = rows["length"].unique(maintain_order=True).to_list()
    encoders = rows["encoder"].unique(maintain_order=True).to_list()
    with style():
        figure, grid = plt.subplots(1, len(lengths), figsize=(2.3 * len(lengths) + 1, 3.8))
        for axes, length in zip(grid, lengths, strict=True):
            bottom = np.zeros(len(encoders))
            for color, (part, label) in zip(PALETTE, PARTS.items(), strict=False):
                height = rows.filter(length=length, part=part)["MFLOP"].to_numpy()
                axes.bar(encoders, height, bottom=bottom, color=color, label=label, width=0.65)
                bottom = bottom + height
            axes.set_title(f"n = {length}")
            axes.grid(axis="x", visible=False)
        grid[0].set_ylabel("MFLOP for one history")
        handles, labels = grid[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=8)
    shares = []
    for length in lengths:
        chosen = rows.filter(pl.col("length") == length, encoder="backbone")
        inside = chosen.filter(pl.col("part") != "scoring")["MFLOP"].sum()
        attention = chosen.filter(part="attention")["MFLOP"][0]
        shares.append(f"{attention / inside:.1%} at n = {length}")
    return Picture(
        figure,
        "Operations of the backbone and of STRec by part. Share of attention in the backbone's "
        f"encoder: {', '.join(shares)}.",
    )


def measured(published: pl.DataFrame, inference: pl.DataFrame) -> Picture:
    """Draw time and memory by the authors' measurement (E1), and the time of inference (E2).

    Args:
        published: Columns ``encoder``, ``ms``, ``saved MiB``.
        inference: Columns ``encoder``, ``ms``, ``ms encoder alone``.
    """
    names = published["encoder"].to_list()
    columns = (
        ("E1: time", published["ms"]),
        ("E1: memory kept", published["saved MiB"]),
        ("E2: encoder, nothing kept", inference["ms encoder alone"]),
        ("E2: with scores and top ten", inference["ms"]),
    )
    with style():
        figure, grid = plt.subplots(
            1, len(columns), figsize=(11, 0.32 * len(names) + 1.1), sharey=True
        )
        places = np.arange(len(names))[::-1]
        for axes, (title, values), color in zip(grid, columns, PALETTE, strict=False):
            share = (values / values[0]).to_numpy()
            axes.barh(places, share, color=color, height=0.65)
            for place, value in zip(places, share, strict=True):
                axes.annotate(f"{value:.2f}", (value, place), xytext=(3, 0),
                              textcoords="offset points", va="center", fontsize=7)  # fmt: skip
            axes.axvline(1, lw=0.8, ls=":", color=INK)
            axes.set_title(title, fontsize=9)
            axes.set_xlim(0, max(1.15, float(share.max()) * 1.18))
            axes.grid(axis="y", visible=False)
        grid[0].set_yticks(places, names)
        figure.supxlabel(f"share of: {names[0]}", fontsize=9)
    index = names.index("STRec")
    facts = ", ".join(f"{title} {values[index] / values[0]:.2f}" for title, values in columns)
    return Picture(figure, f"Cost of each encoder over the backbone's. STRec: {facts}.")


def length_curve(rows: pl.DataFrame, shown: Sequence[str] | None = None) -> Picture:
    """Draw time and saved memory of one history against its length, both axes logarithmic.

    Args:
        rows: Columns ``length``, ``encoder``, ``ms a history``, ``saved MiB a history``; null
            if the device ran out of memory.
        shown: Names of the encoders to draw; None for all.
    """
    names = list(shown or rows["encoder"].unique(maintain_order=True))
    dashes = ("-", "--", ":")
    with style():
        figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 4.4))
        for number, name in enumerate(names):
            line = rows.filter(encoder=name)
            look = {
                "color": PALETTE[number % len(PALETTE)],
                "ls": dashes[number // len(PALETTE) % len(dashes)],
                "marker": "o",
                "ms": 3,
            }
            left.plot(line["length"], line["ms a history"], label=name, **look)
            right.plot(line["length"], line["saved MiB a history"], **look)
        left.set(ylabel="ms for one history (encoder, nothing kept)")
        right.set(ylabel="MiB kept for a backward pass, one history (E1)")
        for axes in (left, right):
            axes.set(xscale="log", yscale="log", xlabel="items in the history")
        figure.legend(loc="outside lower center", ncols=4, fontsize=8)
    longest = rows.filter(pl.col("length") == rows["length"].max())
    facts = ", ".join(
        f"{r['encoder']} {r['ms a history']:.2f} ms"
        for r in longest.drop_nulls("ms a history").to_dicts()
    )
    return Picture(
        figure, f"Time and memory of one history by its length. At {longest['length'][0]}: {facts}."
    )


def funnel(schedule: Sequence[int], length: int) -> Picture:
    """Draw the number of tokens that each layer reads and writes.

    Args:
        schedule: The number of items that each layer keeps.
        length: The number of items of the history.
    """
    with style():
        figure, axes = plt.subplots(figsize=(8, 0.55 * (len(schedule) + 1) + 0.8))
        rows = (length, *schedule)
        for layer, count in enumerate(rows):
            left = length - count
            axes.barh(layer, count, left=left, height=0.62, color=PALETTE[0], alpha=0.85)
            if left:
                axes.barh(layer, left, height=0.62, color=INK, alpha=0.08)
            note = f"{count} tokens" if layer == 0 else f"reads {rows[layer - 1]}, writes {count}"
            axes.annotate(note, (length, layer), xytext=(6, 0), textcoords="offset points",
                          va="center", fontsize=8)  # fmt: skip
        axes.set_yticks(
            range(len(rows)), ["embedding", *(f"layer {i + 1}" for i in range(len(schedule)))]
        )
        axes.invert_yaxis()
        axes.set(xlim=(0, length * 1.3), xlabel="tokens, ranked (best right; the newest item last)")
        axes.grid(visible=False)
    steps = " to ".join(str(count) for count in rows)
    return Picture(
        figure, f"STRec as a funnel: the number of tokens goes from {steps}, layer by layer."
    )
