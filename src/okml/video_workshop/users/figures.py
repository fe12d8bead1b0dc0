"""Figures of the user model: gains of reuse, and changes of the base."""

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


def _intervals(axes: Axes, rows: pl.DataFrame, arms: Sequence[str], color: str) -> None:
    """Draw a dot and an interval for each row at the place of its arm."""
    for row in rows.to_dicts():
        place = arms.index(row["arm"])
        axes.hlines(place, row["low"], row["high"], color=color, lw=2.5, alpha=0.5)
        axes.plot(row["difference"], place, "o", color=color, ms=5)
    axes.set_ylim(-0.6, len(arms) - 0.4)
    axes.axvline(0, color=INK, lw=0.8)
    axes.grid(axis="y", visible=False)
