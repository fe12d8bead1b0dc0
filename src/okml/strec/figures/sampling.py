"""The learned scores of the sampler and the items that it keeps (the paper's Figures 8 and 9)."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import polars as pl

from okml.plotting import INK, PALETTE, Picture, by_color, style

TICKS = {1: "1 s", 60: "1 min", 3600: "1 h", 86_400: "1 d", 2_592_000: "30 d", 31_536_000: "1 y"}


def sampling_curve(curves: pl.DataFrame, kept: pl.DataFrame, released: pl.DataFrame) -> Picture:
    """Draw the score and the inclusion probability of an item against its time gap.

    The curves have ``recipe``, ``seed``, ``gap`` in seconds and ``score``; what is kept has
    ``recipe``, ``seed``, ``count``, ``gap`` and ``kept``; the table in the authors' code has
    ``gap`` and ``score``.
    """
    with style():
        figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.9))
        for color, recipe, own in by_color(curves, "recipe"):
            for number, line in enumerate(own.partition_by("seed", maintain_order=True)):
                left.plot(
                    line["gap"] + 1, _standardized(line["score"]), color=color,
                    label=f"{recipe}, one line a seed" if number == 0 else None,
                )  # fmt: skip
        left.plot(
            released["gap"] + 1, _standardized(released["score"]), color=INK, ls="--", lw=1.2,
            label="table in the authors' code (ML-20M)",
        )  # fmt: skip
        left.set(ylabel="score, standardized over the axis")
        main = kept.filter(recipe=kept["recipe"][0])
        ordered = main.sort("count", descending=True, maintain_order=True)
        for color, count, own in by_color(ordered, "count"):
            for number, line in enumerate(own.partition_by("seed", maintain_order=True)):
                right.plot(
                    line["gap"] + 1, line["kept"], color=color, marker="o", ms=2.5, lw=1,
                    label=f"among the best {count}" if number == 0 else None,
                )  # fmt: skip
        right.set(ylabel="probability of being kept", ylim=(0, 1.02))
        for axes in (left, right):
            axes.set(xscale="log", xlabel="time since the item")
            axes.set_xticks([seconds + 1 for seconds in TICKS], list(TICKS.values()))
            axes.minorticks_off()
            axes.legend(fontsize=8)
    ends = (
        curves.filter(recipe=curves["recipe"][0])
        .group_by("seed", maintain_order=True)
        .agg(first=pl.col("score").first(), last=pl.col("score").last())
    )
    facts = ", ".join(f"{r['first']:.2f} to {r['last']:.2f}" for r in ends.to_dicts())
    return Picture(
        figure,
        f"Learned score against the time since an item, and the probability that it is kept. "
        f"From no gap to ten years the score goes from {facts}.",
    )


def _standardized(scores: pl.Series) -> pl.Series:
    spread = scores.std()
    return (scores - scores.mean()) / spread if spread else scores * 0


def case_study(case: pl.DataFrame, schedule: Sequence[int]) -> Picture:
    """Draw the items of one history: attention in the first layer, and the layers that keep each.

    An item has ``position``, ``attention``, ``layers`` (the number of layers that keep it), ``gap``
    in seconds and ``title``; the schedule is the number of items that each layer keeps.
    """
    n = len(case)
    with style():
        figure, (top, bottom) = plt.subplots(
            2, 1, figsize=(9, 4.4), sharex=True, height_ratios=(1.3, 1)
        )
        top.bar(case["position"], case["attention"], color=PALETTE[0])
        top.set(ylabel="attention of the\nnewest item, layer 1")
        top.axhline(1 / n, lw=0.8, ls=":", color=INK)
        items = bottom.scatter(case["position"], case["layers"], s=26, color=PALETTE[1])
        bottom.set(
            xlabel="position in the history (newest right)", ylabel="layers that\nwrite the item",
            yticks=range(len(schedule) + 1),
        )  # fmt: skip
    labels = [f"{r['title']}, {_age(r['gap'])} before the newest" for r in case.to_dicts()]
    share = case.sort("attention", descending=True).head(5)["attention"].sum()
    survivors = int((case["layers"] >= len(schedule) - 1).sum())
    return Picture(
        figure,
        f"One history of {n} items. The five items that the newest one looks at most hold "
        f"{share:.2f} of its attention; {survivors} items are still there in the last layer.",
        {items: labels},
    )


def _age(seconds: int) -> str:
    for size, unit in ((86_400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds} seconds"
