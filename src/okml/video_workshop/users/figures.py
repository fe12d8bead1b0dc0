"""Figures of the user model: gains of reuse, and changes of the base."""

from __future__ import annotations

import matplotlib.pyplot as plt
import polars as pl

from okml.plotting import INK, PALETTE, Picture, dots, style

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
    arms = frame.filter(pl.col("arm") != reference).select("arm").unique(maintain_order=True)
    with style():
        figure, panels = plt.subplots(
            1, len(tasks), figsize=(3.2 * len(tasks) + 1, 0.36 * len(arms) + 1.5), sharey=True,
            squeeze=False,
        )  # fmt: skip
        for axes, task, color in zip(panels[0], tasks, PALETTE, strict=False):
            rows = arms.join(frame.filter(task=task), on="arm", how="left", maintain_order="left")
            dots(axes, rows, "difference", "arm", color)
            axes.axvline(0, color=INK, lw=0.8)
            value = frame.filter(task=task, arm=reference)["value"]
            under = f"{NUMBERS[task]} over {reference}"
            axes.set(
                title=TITLES[task],
                xlabel=under if value.is_empty() else f"{under} ({value[0]:.3f})",
            )
    facts = "; ".join(
        f"{TITLES[row['task']]}, {row['arm']} {row['difference']:+.3f} "
        f"({row['low']:+.3f} to {row['high']:+.3f})"
        for row in frame.filter(pl.col("arm") != reference).to_dicts()
    )
    return Picture(figure, f"Differences from {reference} with 95 % intervals: {facts}.")
