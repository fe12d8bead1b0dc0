"""Time, memory and operations (Table 3 and Figure 5 of the paper)."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import polars as pl

from okml.plotting import INK, PALETTE, Picture, by_color, dots, style
from okml.strec.arms import CAUSAL

PARTS = {
    "projection": "projections (Q, K, V, output)",
    "attention": "attention (QKᵀ and AV)",
    "feed_forward": "feed-forward network",
    "scoring": "scores of all items",
}
# What the names of encoders mean, or how others write them.
ENCODERS = {
    "STRec, recency": "STRec, newest items",
    "STRec, random": "STRec, random items",
    "informer": "Informer",
    "informer, distilling": "Informer, distilling",
}


def breakdown(rows: pl.DataFrame) -> Picture:
    """Draw the ``MFLOP`` of each ``encoder``, backbone and STRec, by ``part`` and ``length``."""
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

    Both frames have ``encoder`` and ``ms``, with ``saved MiB`` in the first and ``ms encoder
    alone`` in the second; where values are missing, also ``failed``, the reason.
    """
    names = published["encoder"].to_list()
    columns = (
        ("E1: time, as the\nauthors measure", "ms", published),
        ("E1: memory, as the\nauthors measure", "saved MiB", published),
        ("E2: time of serving,\nencoder alone", "ms encoder alone", inference),
        ("E2: time of serving,\nwith the top ten", "ms", inference),
    )
    index = names.index("STRec")
    facts = []
    with style():
        figure, grid = plt.subplots(2, 2, figsize=(5, 0.46 * len(names) + 1.7), sharey=True)
        places = np.arange(len(names))[::-1]
        for axes, (title, column, rows), color in zip(grid.flat, columns, PALETTE, strict=False):
            values = rows[column].to_numpy()
            share = np.nan_to_num(values / values[0])
            failed = rows["failed"] if "failed" in rows.columns else [None] * len(rows)
            texts = [
                f"{value:.2f}" if value else reason or failed[0]
                for value, reason in zip(share, failed, strict=True)
            ]
            axes.barh(places, share, color=color, height=0.65)
            for place, value, text in zip(places, share, texts, strict=True):
                axes.annotate(text, (value, place), xytext=(3, 0),
                              textcoords="offset points", va="center", fontsize=9)  # fmt: skip
            axes.set_title(title)
            axes.set_xlim(0, 1.3 * max(1, float(share.max())))
            axes.grid(visible=False)  # lines would cross the numbers
            facts.append(f"{' '.join(title.split())} {texts[index]}")
        told = [
            f"backbone, {name}" if name.startswith("newest ") else ENCODERS.get(name, name)
            for name in names
        ]
        grid[0, 0].set_yticks(places, told)
        figure.supxlabel(f"share of: {names[0]}", fontsize="medium")
    return Picture(figure, f"Cost of each encoder over the backbone's. STRec: {', '.join(facts)}.")


def training(rows: pl.DataFrame) -> Picture:
    """Draw the time of training for one target (E4), over that of the causal SASRec.

    The rows have ``encoder`` and ``targets/s``.
    """
    fastest = rows.filter(encoder=CAUSAL)["targets/s"][0]
    rows = rows.with_columns(over=fastest / pl.col("targets/s"))
    with style():
        figure, axes = plt.subplots(figsize=(5, 0.33 * len(rows) + 1))
        colors = [PALETTE[name == "STRec"] for name in rows["encoder"]]
        dots(axes, rows, "over", "encoder", colors, ("over", "over"))
        axes.axvline(1, lw=0.8, ls=":", color=INK)
        axes.set(
            xlim=(0, None), xlabel="time of training for one target,\nover that of causal SASRec"
        )
    facts = ", ".join(
        f"{name} {over:.1f}"
        for name, over in rows.select("encoder", "over").drop_nulls().iter_rows()
    )
    return Picture(figure, f"Time of training for one target, over causal SASRec: {facts}.")


def length_curve(rows: pl.DataFrame) -> Picture:
    """Draw time and saved memory of one history against its length, both axes logarithmic.

    The rows have ``length``, ``encoder``, ``ms a history`` and ``saved MiB a history``; where
    values are missing, also ``failed``, the reason.
    """
    dashes = ("-", "--", ":")
    with style():
        figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 4.4))
        for number, (color, name, line) in enumerate(by_color(rows, "encoder")):
            look = {
                "color": color,
                "ls": dashes[number // len(PALETTE) % len(dashes)],
                "marker": "o",
                "ms": 3,
            }
            lost = line.filter(pl.col("ms a history").is_null())["length"].to_list()
            label = f"{name} (out of memory at {min(lost)} items)" if lost else name
            left.plot(line["length"], line["ms a history"], label=label, **look)
            right.plot(line["length"], line["saved MiB a history"], **look)
        left.set(ylabel="ms for one history (encoder, nothing kept)")
        right.set(ylabel="MiB kept for a backward pass, one history (E1)")
        for axes in (left, right):
            axes.set(xscale="log", yscale="log", xlabel="items in the history")
        figure.legend(loc="outside lower center", ncols=4, fontsize=8)
    longest = rows.filter(pl.col("length") == rows["length"].max())
    facts = ", ".join(
        f"{r['encoder']} "
        + (r["failed"] if r["ms a history"] is None else f"{r['ms a history']:.2f} ms")
        for r in longest.to_dicts()
    )
    return Picture(
        figure, f"Time and memory of one history by its length. At {longest['length'][0]}: {facts}."
    )


def funnel(schedule: Sequence[int], length: int) -> Picture:
    """Draw the number of tokens that each layer reads and writes."""
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
