"""Figures of arms with intervals, of the tail, and of learning curves."""

from __future__ import annotations

from itertools import pairwise

import matplotlib.pyplot as plt
import polars as pl

from okml.plotting import INK, PALETTE, Picture, style

SLICES = {"head": "o", "tail": "s", "cold": "^"}


def arms(summary: pl.DataFrame, reference: str, what: str) -> Picture:
    """Draw HR@10 of each arm with its interval, and HR@10 on head, tail and cold items.

    Args:
        summary: Columns ``arm``, ``hr@10``, ``low``, ``high``, ``head``, ``tail``, ``cold``.
        reference: Arm whose HR@10 is marked by a line.
        what: Subject of the text alternative.
    """
    rows = summary.reverse().to_dicts()
    with style():
        figure, (left, right) = plt.subplots(
            1, 2, figsize=(10, 0.36 * len(rows) + 1.3), sharey=True
        )
        for place, row in enumerate(rows):
            left.plot([row["low"], row["high"]], [place] * 2, color=PALETTE[0], lw=2, alpha=0.5)
            left.plot(row["hr@10"], place, "o", color=PALETTE[0], ms=5)
        own = [row["hr@10"] for row in rows if row["arm"] == reference]
        if own:
            left.axvline(own[0], lw=1, ls=":", color=INK)
        for color, (name, marker) in zip(PALETTE[1:], SLICES.items(), strict=False):
            known = [(row[name], n) for n, row in enumerate(rows) if row[name] is not None]
            if known:
                right.plot(*zip(*known, strict=True), marker, color=color, ms=5, label=name)
        left.set_yticks(range(len(rows)), [row["arm"] for row in rows])
        left.set(xlabel="HR@10, all items ranked (bar: 95 %)", xlim=(0, None))
        right.set(xlabel="HR@10 of a slice", xlim=(0, None))
        right.legend(fontsize=8, loc="best")
        for axes in (left, right):
            axes.grid(axis="y", visible=False)
    facts = ", ".join(f"{r['arm']} {r['hr@10']:.3f}" for r in reversed(rows))
    return Picture(figure, f"HR@10 of {what}: {facts}.")


def tail_buckets(buckets: pl.DataFrame) -> Picture:
    """Draw HR@10 against the target's clicks in training.

    Args:
        buckets: Columns ``arm``, ``bucket`` (least clicks), ``hr@10``, ``pairs``.
    """
    lower = sorted(buckets["bucket"].unique())
    labels = [f"{a}" if b == a + 1 else f"{a} to {b - 1}" for a, b in pairwise(lower)] + [
        f"{lower[-1]} and more"
    ]
    with style():
        figure, axes = plt.subplots(figsize=(8.5, 4.4))
        names = buckets["arm"].unique(maintain_order=True).to_list()
        for number, name in enumerate(names):
            rows = buckets.filter(arm=name).sort("bucket")
            x = [lower.index(value) for value in rows["bucket"]]
            axes.plot(
                x, rows["hr@10"], marker="osD^v"[number % 5], ms=4.5, lw=1.4,
                ls="-" if number < len(PALETTE) else "--",
                color=PALETTE[number % len(PALETTE)], label=name,
            )  # fmt: skip
        axes.set_xticks(range(len(lower)), labels)
        axes.set(xlabel="clicks on the target in training", ylabel="HR@10", ylim=(0, None))
        axes.legend(fontsize=7.5)
    cold = buckets.filter(bucket=0)
    facts = ", ".join(f"{r['arm']} {r['hr@10']:.2f}" for r in cold.to_dicts())
    return Picture(figure, f"HR@10 by popularity of the target. Targets without a click: {facts}.")


def learning_curves(curves: pl.DataFrame) -> Picture:
    """Draw the training loss with and without the predicted edge left out.

    Args:
        curves: Columns ``encoder``, ``step``, ``loss``.
    """
    labels = {"V0": "edge left out"}
    names = curves["encoder"].unique(maintain_order=True).to_list()
    with style():
        figure, axes = plt.subplots(figsize=(7.5, 3.4))
        for color, name in zip(PALETTE, names, strict=False):
            rows = curves.filter(encoder=name)
            axes.plot(rows["step"], rows["loss"], color=color, label=labels.get(name, name))
        axes.set(xlabel="step", ylabel="softmax over the batch", ylim=(0, None))
        axes.legend(fontsize=8)
    last = curves.group_by("encoder", maintain_order=True).agg(pl.col("loss").last())
    facts = ", ".join(f"{labels.get(r['encoder'], r['encoder'])} {r['loss']:.2f}"
                      for r in last.to_dicts())  # fmt: skip
    return Picture(figure, f"Training loss of LightSAGE by step. At the end: {facts}.")
