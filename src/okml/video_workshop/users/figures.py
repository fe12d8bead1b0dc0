"""Figures of the user model: gains of reuse, changes of the base, and scaling of the loss."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import polars as pl
from matplotlib.axes import Axes

from okml.plotting import INK, PALETTE, Picture, style

NUMBERS = {"retrieval": "NDCG@10", "ranking": "GAUC", "related": "HR@10"}
TITLES = {
    "retrieval": "next liked item",
    "ranking": "ranking what is shown",
    "related": "related items",
}


def gains(frame: pl.DataFrame, reference: str) -> Picture:
    """Draw each arm's difference from a reference in every task, with its interval.

    Args:
        frame: Columns ``task``, ``arm``, ``value``, ``difference``, ``low``, ``high``; the
            reference has no difference.
        reference: Name of the reference arm.
    """
    tasks = frame["task"].unique(maintain_order=True).to_list()
    arms = [arm for arm in frame["arm"].unique(maintain_order=True) if arm != reference][::-1]
    with style():
        figure, panels = plt.subplots(
            1, len(tasks), figsize=(3.2 * len(tasks) + 1, 0.36 * len(arms) + 1.5), sharey=True,
            squeeze=False,
        )  # fmt: skip
        for axes, task in zip(panels[0], tasks, strict=True):
            rows = frame.filter(pl.col("task") == task, pl.col("arm") != reference)
            _intervals(axes, rows, arms, PALETTE[tasks.index(task)])
            value = frame.filter(task=task, arm=reference)["value"]
            under = f"{NUMBERS[task]} over {reference}"
            axes.set(
                title=TITLES[task],
                xlabel=under if value.is_empty() else f"{under} ({value[0]:.3f})",
            )
        panels[0][0].set_yticks(range(len(arms)), arms)
    facts = "; ".join(
        f"{TITLES[row['task']]}, {row['arm']} {row['difference']:+.3f} "
        f"({row['low']:+.3f} to {row['high']:+.3f})"
        for row in frame.filter(pl.col("arm") != reference).to_dicts()
    )
    return Picture(figure, f"Differences from {reference} with 95 % intervals: {facts}.")


def propagation(frame: pl.DataFrame) -> Picture:
    """Draw the change of each recommender with a larger base.

    Args:
        frame: Columns ``task``, ``change``, ``difference``, ``low``, ``high``.
    """
    rows = frame.reverse()
    names = [f"{TITLES[row['task']]} ({NUMBERS[row['task']]})" for row in rows.to_dicts()]
    with style():
        figure, axes = plt.subplots(figsize=(7, 0.45 * len(rows) + 1.1))
        named = rows.with_columns(arm=pl.Series(names))
        _intervals(axes, named, names, PALETTE[0])
        axes.set_yticks(range(len(rows)), names)
        axes.set(xlabel="change with the larger base (bar: 95 % over users and seeds)")
    facts = "; ".join(
        f"{TITLES[row['task']]} {row['difference']:+.3f} ({row['low']:+.3f} to {row['high']:+.3f})"
        for row in frame.to_dicts()
    )
    return Picture(figure, f"Change of every recommender when its base gets larger: {facts}.")


def scaling(points: pl.DataFrame) -> Picture:
    """Draw test loss by size of the network, one line for each share of the users.

    Args:
        points: Columns ``parameters``, ``share``, ``loss``, ``low``, ``high``.
    """
    shares = sorted(points["share"].unique())
    with style():
        figure, axes = plt.subplots(figsize=(7, 4))
        for color, share in zip(PALETTE, shares, strict=False):
            rows = points.filter(share=share).sort("parameters")
            # A small shift, so that intervals of one size do not overlap.
            places = rows["parameters"] * (1 + 0.03 * shares.index(share))
            axes.vlines(places, rows["low"], rows["high"], color=color, lw=2, alpha=0.35)
            label = f"{float(share):.0%} of users"
            axes.plot(places, rows["loss"], "o-", ms=4, color=color, label=label)
        axes.set(
            xscale="log",
            xlabel="parameters of the network, item vectors not counted",
            ylabel="test cross-entropy, nats (bar: 95 % over users and seeds)",
        )
        axes.legend(fontsize=8)
    ordered = points.sort("loss").to_dicts()
    best, worst = ordered[0], ordered[-1]
    return Picture(
        figure,
        f"Test cross-entropy against the size of the network for {len(shares)} shares of the "
        f"users, from {worst['loss']:.2f} down to {best['loss']:.2f} nats at "
        f"{best['parameters']:,} parameters and {best['share']:.0%} of the users.",
    )


def _intervals(axes: Axes, rows: pl.DataFrame, arms: Sequence[str], color: str) -> None:
    """Draw a dot and an interval for each row at the place of its arm."""
    for row in rows.to_dicts():
        place = arms.index(row["arm"])
        axes.hlines(place, row["low"], row["high"], color=color, lw=2.5, alpha=0.5)
        axes.plot(row["difference"], place, "o", color=color, ms=5)
    axes.set_ylim(-0.6, len(arms) - 0.4)
    axes.axvline(0, color=INK, lw=0.8)
    axes.grid(axis="y", visible=False)
