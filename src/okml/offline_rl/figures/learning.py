"""Learning curves of both stages, and the ratios of the final metrics."""

from __future__ import annotations

import matplotlib.pyplot as plt
import polars as pl

from okml.plotting import INK, PALETTE, Picture, style


def curves(frame: pl.DataFrame, metric: str = "ndcg@10") -> Picture:
    """Draw validation metrics by update: stage 1 on the left, stage 2 on the right.

    Args:
        frame: Columns ``arm``, ``label``, ``seed``, ``stage``, ``step``, and the metric.
        metric: The name of the metric's column.
    """
    colors = dict(zip(frame["arm"].unique(maintain_order=True), PALETTE, strict=False))
    means = frame.group_by("arm", "label", "stage", "step", maintain_order=True).agg(
        pl.col(metric).mean(), pl.col(metric).min().alias("low"), pl.col(metric).max().alias("high")
    )
    best = frame.filter(arm="transformer_only").group_by("seed").agg(pl.col(metric).max())
    level = float(best[metric].mean())  # type: ignore[arg-type]
    with style():
        figure, panels = plt.subplots(1, 2, figsize=(8.5, 3.8), sharey=True)
        for stage, axes in enumerate(panels, 1):
            for arm, rows in means.filter(stage=stage).group_by("arm", maintain_order=True):
                name = str(arm[0])
                ordered = rows.sort("step")
                axes.fill_between(
                    ordered["step"], ordered["low"], ordered["high"], color=colors[name], alpha=0.2,
                    lw=0,
                )  # fmt: skip
                axes.plot(
                    ordered["step"], ordered[metric], marker="o", ms=3, color=colors[name],
                    label=str(ordered["label"][0]),
                )  # fmt: skip
            axes.axhline(level, color=INK, lw=0.8, ls=":")
            axes.set(xlabel="updates of the actor, both stages counted", title=f"stage {stage}")
            axes.legend(fontsize=8, loc="lower right")
        panels[0].set_title("from scratch: stage 1, and CRR alone")
        panels[1].set_title("stage 2, from the best of stage 1")
        panels[0].set(ylabel=f"validation {metric.upper()} (band: seeds)", ylim=(0, None))
    facts = ", ".join(
        f"{row['label']} {row[metric]:.4f}"
        for row in frame.group_by("label", "seed", maintain_order=True)
        .agg(pl.col(metric).max())
        .group_by("label", maintain_order=True)
        .agg(pl.col(metric).mean())
        .to_dicts()
    )
    return Picture(
        figure,
        f"Validation {metric.upper()} by update in both stages; the dotted line is the best of "
        f"stage 1, {level:.4f}. Best of each: {facts}.",
    )


def verdict(frame: pl.DataFrame) -> Picture:
    """Draw the ratios behind the factor 1.5 with their intervals.

    Args:
        frame: Columns ``metric``, ``ratio``, ``value``, ``low``, ``high``, ``verdict``.
    """
    rows = frame.reverse().to_dicts()
    names = [f"{row['metric'].upper()}: {row['ratio']}" for row in rows]
    with style():
        figure, axes = plt.subplots(figsize=(7.5, 0.45 * len(rows) + 1))
        for place, row in enumerate(rows):
            color = PALETTE[1] if row["ratio"] == "CRR over control" else PALETTE[0]
            axes.hlines(place, row["low"], row["high"], color=color, lw=2.5, alpha=0.5)
            axes.plot(row["value"], place, "o", color=color)
        axes.axvline(1, color=INK, lw=0.8)
        axes.axvline(1.5, color=INK, lw=0.8, ls=":")
        axes.annotate(
            "the digest's 1.5", (1.5, 1), xycoords=("data", "axes fraction"), fontsize=8,
            ha="right", va="bottom",
        )  # fmt: skip
        axes.set_yticks(range(len(rows)), names)
        axes.set(xlabel="ratio of test metrics (bar: 95 % over users and seeds)")
        axes.grid(axis="y", visible=False)
    facts = "; ".join(
        f"{row['ratio']} {row['value']:.2f} ({row['low']:.2f} to {row['high']:.2f}) in "
        f"{row['metric'].upper()}"
        for row in frame.to_dicts()
    )
    return Picture(figure, f"Ratios of test metrics: {facts}. Verdict: {frame['verdict'][-1]}.")
