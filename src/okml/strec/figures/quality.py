"""Recommendation quality: arms, schedules, stages (Figures 4, 6 and 7 of the paper)."""

from __future__ import annotations

from collections.abc import Collection

import matplotlib.pyplot as plt
import polars as pl
from matplotlib.artist import Artist
from matplotlib.axes import Axes

from okml.plotting import INK, PALETTE, Picture, by_color, dots, line_beside_rows, style

PAPER_MARKS = (0.42, 0.69, 0.77)  # values of sparsity that a review of the paper names


def arms(summary: pl.DataFrame, data: str) -> Picture:
    """Draw NDCG@10 of every arm on a data set with its 95 % interval over users and seeds.

    The summary has ``data``, ``arm``, ``ndcg@10``, ``low`` and ``high``.
    """
    rows = summary.filter(data=data).sort("ndcg@10", descending=True)
    with style():
        figure, axes = plt.subplots(figsize=(7.5, 0.36 * len(rows) + 1))
        dots(axes, rows, "ndcg@10", "arm")
        backbone = rows.filter(arm="backbone")
        if len(backbone):
            axes.axvline(backbone["ndcg@10"][0], lw=1, ls=":", color=INK)
        axes.set(xlabel="NDCG@10, all items ranked (line: 95 % over users and seeds)")
    facts = ", ".join(f"{r['arm']} {r['ndcg@10']:.4f}" for r in rows.to_dicts())
    return Picture(figure, f"NDCG@10 of each arm on {data}: {facts}.")


def ablation(summary: pl.DataFrame, data: str, rankings: Collection[str]) -> Picture:
    """Draw the difference of each ranking with the same schedule from the backbone, by user.

    The summary has ``data``, ``arm``, ``difference``, ``difference low`` and ``difference high``;
    the rankings are the names of the arms that sample.
    """
    names = {
        "strec": "learned from gaps (STRec)",
        "no_noise": "without noise (STRec-1)",
        "random": "random (STRec-2)",
        "position": "learned from positions (STRec-3)",
        "content": "learned from content",
        "recency": "the newest",
        "uniform": "evenly over the history",
    }
    rows = summary.filter(pl.col("data") == data, pl.col("arm").is_in(list(rankings)))
    rows = rows.with_columns(pl.col("arm").replace(names)).sort("difference", descending=True)
    with style():
        figure, axes = plt.subplots(figsize=(4.4, 0.4 * len(rows) + 0.9))
        ends = ("difference low", "difference high")
        dots(axes, rows, "difference", "arm", ends=ends, above=True)
        line_beside_rows(axes, len(rows), 0, "dotted")
        axes.set(xlabel="NDCG@10 less the backbone's\n(line: 95 % over users and seeds, paired)")
    facts = ", ".join(f"{r['arm']} {r['difference']:+.4f}" for r in rows.to_dicts())
    return Picture(
        figure, f"Difference of NDCG@10 from the backbone by how the sample is chosen: {facts}."
    )


def sweep_quality(sweep: pl.DataFrame, backbone: pl.DataFrame) -> Picture:
    """Draw NDCG@10 against sparsity, with the backbone's, which is one row (Figure 4).

    Both have ``ndcg@10``, ``low`` and ``high``; the sweep has ``sample``, ``schedule`` and
    ``sparsity`` too.
    """
    with style():
        figure, axes = plt.subplots(figsize=(5, 3.8))
        reference = backbone.to_dicts()[0]
        axes.axhspan(reference["low"], reference["high"], color=INK, alpha=0.07, lw=0)
        axes.axhline(reference["ndcg@10"], lw=1.2, ls="--", color=INK, label="backbone, 95 %")
        hover: dict[Artist, list[str]] = {}
        for number, (color, sample, group) in enumerate(by_color(sweep, "sample")):
            rows = group.sort("sparsity")
            x = [value + 0.006 * number for value in rows["sparsity"]]
            axes.vlines(x, rows["low"], rows["high"], color=color, alpha=0.5)
            axes.plot(x, rows["ndcg@10"], color=color, label=f"sample: {sample}")
            points = axes.scatter(x, rows["ndcg@10"], s=22, color=color)
            hover[points] = [f"{r['schedule']}: {r['ndcg@10']:.4f}" for r in rows.to_dicts()]
        _paper_marks(axes)
        axes.set(xlabel="sparsity: items dropped,\nmean over all layers but the last",
                 ylabel="NDCG@10 (line: 95 % over users and seeds)")  # fmt: skip
        axes.legend(fontsize=9, loc="lower left")
    facts = ", ".join(
        f"{r['sparsity']:.2f} {r['ndcg@10']:.4f}"
        for r in sweep.filter(sample="recency").sort("sparsity").to_dicts()
    )
    return Picture(
        figure,
        f"NDCG@10 against sparsity of the schedule; the backbone has {reference['ndcg@10']:.4f}. "
        f"Sample by recency: {facts}.",
        hover,
    )


def sweep_cost(costs: pl.DataFrame) -> Picture:
    """Draw the relative time, memory, tokens and operations against sparsity (Figure 5).

    The costs have ``sparsity``, and ``time``, ``memory``, ``tokens`` and ``flops`` as shares of the
    backbone with all queries.
    """
    rows = costs.sort("sparsity")
    labels = {
        "time": "time (E1)",
        "memory": "memory kept for a backward pass (E1)",
        "tokens": "tokens written",
        "flops": "operations",
    }
    with style():
        figure, axes = plt.subplots(figsize=(7.5, 4))
        for (column, label), dash in zip(labels.items(), ("-", "-", ":", ":"), strict=True):
            axes.plot(rows["sparsity"], rows[column], dash, marker="o", ms=4, label=label)
        _paper_marks(axes)
        axes.set(
            xlabel="sparsity: items dropped, mean over all layers but the last",
            ylabel="share of the backbone (every query)", ylim=(0, None),
        )  # fmt: skip
        axes.legend(fontsize=8)
    last = rows.row(-1, named=True)
    return Picture(
        figure,
        f"Cost against sparsity. At {last['sparsity']:.2f}, {last['time']:.2f} of the time, "
        f"{last['memory']:.2f} of the memory and {last['flops']:.2f} of the operations are left.",
    )


def _paper_marks(axes: Axes) -> None:
    for place in PAPER_MARKS:
        axes.axvline(place, lw=0.8, ls=":", color=INK)
        axes.annotate(
            f"{place:.0%}", (place, 1), xycoords=("data", "axes fraction"), fontsize=9, ha="center",
            va="bottom",
        )  # fmt: skip


def pareto(points: pl.DataFrame) -> Picture:
    """Draw NDCG@10 against the operations for one history.

    The points have ``arm``, ``group``, ``MFLOP``, ``ndcg@10``, ``low`` and ``high``.
    """
    with style():
        figure, axes = plt.subplots(figsize=(7.5, 4.2))
        hover: dict[Artist, list[str]] = {}
        for color, group, rows in by_color(points, "group"):
            axes.vlines(rows["MFLOP"], rows["low"], rows["high"], color=color, alpha=0.3, lw=1)
            drawn = axes.scatter(rows["MFLOP"], rows["ndcg@10"], s=32, color=color, label=group)
            hover[drawn] = [
                f"{r['arm']}: {r['MFLOP']:.2f} MFLOP, NDCG@10 {r['ndcg@10']:.4f}"
                for r in rows.to_dicts()
            ]
        axes.set(xscale="log", xlabel="operations of the encoder for one history (MFLOP)",
                 ylabel="NDCG@10 (line: 95 % over users and seeds)")  # fmt: skip
        axes.legend(fontsize=8)
    best = points.sort("ndcg@10", descending=True).row(0, named=True)
    cheap = points.sort("MFLOP").row(0, named=True)
    return Picture(
        figure,
        f"Quality against cost. The best is {best['arm']} with {best['ndcg@10']:.4f} at "
        f"{best['MFLOP']:.2f} MFLOP; the cheapest, {cheap['arm']}, has {cheap['ndcg@10']:.4f} at "
        f"{cheap['MFLOP']:.2f}.",
        hover,
    )


def stages(rows: pl.DataFrame) -> Picture:
    """Draw ``ndcg@10`` of each ``kind`` of stages, by the length of the first too (Figure 6)."""
    means = rows.group_by("kind", maintain_order=True).agg(pl.col("ndcg@10").mean()).reverse()
    with style():
        figure, axes = plt.subplots(figsize=(7.5, 0.42 * len(means) + 1))
        for place, kind in enumerate(means["kind"]):
            values = rows.filter(kind=kind)["ndcg@10"].to_list()
            axes.plot(values, [place] * len(values), "o", color=PALETTE[0], ms=4, alpha=0.5)
        axes.plot(means["ndcg@10"], range(len(means)), "|", color=PALETTE[1], ms=16, mew=2.5)
        axes.set_yticks(range(len(means)), means["kind"].to_list())
        axes.set(xlabel="NDCG@10 (dot: a seed, stroke: mean)")
        axes.grid(axis="y", visible=False)
    facts = ", ".join(f"{r['kind']} {r['ndcg@10']:.4f}" for r in means.reverse().to_dicts())
    return Picture(figure, f"NDCG@10 by stages of the training: {facts}.")


def learning_curves(curves: pl.DataFrame) -> Picture:
    """Draw NDCG@10 on the validation rows by step: trainings on windows, and on rows.

    Of those on rows the first four arms are shown, and the one that ends lowest.

    The curves have ``encoder``, ``training``, ``seed``, ``step`` and ``ndcg@10``.
    """
    best = curves.group_by("encoder", maintain_order=True).agg(
        pl.col("training").first(), pl.col("ndcg@10").max()
    )
    on_rows = best.filter(training="rows")
    named = {*on_rows["encoder"][:4], *on_rows.sort("ndcg@10")["encoder"][:1]}
    titles = {
        False: "a target at every position",
        True: "one target a history, from the warm start",
    }
    with style():
        figure, panels = plt.subplots(1, 2, figsize=(9.5, 4))
        for axes, (of_rows, title) in zip(panels, titles.items(), strict=True):
            shown = curves.filter((pl.col("training") == "rows") == of_rows)
            if of_rows:
                shown = shown.filter(pl.col("encoder").is_in(named))
            for color, name, own in by_color(shown, "encoder"):
                for number, line in enumerate(own.partition_by("seed", maintain_order=True)):
                    axes.plot(
                        line["step"], line["ndcg@10"], color=color, marker="o", ms=2.5, lw=1,
                        label=name if number == 0 else None,
                    )  # fmt: skip
            axes.set(xlabel="step (one line a seed)", title=title)
            axes.locator_params(axis="x", nbins=5)
            axes.legend(fontsize=8, loc="center right" if of_rows else "lower right")
        panels[0].set(ylabel="NDCG@10 on validation rows")
    facts = ", ".join(f"{r['encoder']} {r['ndcg@10']:.4f}" for r in best.to_dicts())
    return Picture(figure, f"Validation by step of the trainings. The best of all seeds: {facts}.")
