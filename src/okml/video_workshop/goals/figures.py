"""Figures of objectives, corrections and constraints in the simulator."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import polars as pl
from matplotlib.artist import Artist

from okml.ledger import Measurements
from okml.plotting import (
    INK,
    PALETTE,
    Picture,
    by_color,
    estimates,
    label_points,
    style,
    with_control,
)

COLORS = {"clicks": PALETTE[1], "several goals": PALETTE[0]}


def warning(frame: pl.DataFrame, oracles: pl.DataFrame) -> Picture:
    """Draw returning users against the accuracy of the click model inside a ranker.

    Args:
        frame: Columns ``objective``, ``model``, ``seed``, ``auc``, ``ctr, day 1``,
            ``ctr, first request``, ``dau``.
        oracles: Columns ``oracle``, ``dau``: daily users under oracles, which know the truth.
    """
    shown = frame.filter(pl.col("auc").is_not_null())
    means = shown.group_by("objective", "model", maintain_order=True).agg(
        pl.col("auc", "ctr, day 1", "ctr, first request", "dau").mean()
    )
    hover: dict[Artist, list[str]] = {}
    with style():
        figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4), width_ratios=(3, 2))
        for objective, rows in means.group_by("objective", maintain_order=True):
            name = str(objective[0])
            color, of = COLORS[name], shown.filter(objective=name)
            left.scatter(of["auc"], of["dau"], s=12, color=color, alpha=0.5)
            points = left.scatter(rows["auc"], rows["dau"], s=55, color=color, label=name)
            hover[points] = [
                f"{row['model']}: AUC {row['auc']:.3f}, CTR {row['ctr, day 1']:.3f}, "
                f"users {row['dau']:.3f}"
                for row in rows.iter_rows(named=True)
            ]
        for name, label in (("value", "best: good will, with the truth known"),
                            ("random", "random items"),
                            ("clicks", "clicks, with the truth known")):  # fmt: skip
            level = float(oracles.filter(oracle=name)["dau"].mean())  # type: ignore[arg-type]
            left.axhline(level, color=INK, lw=0.8, ls=":")
            left.annotate(label, (0.01, level), xycoords=("axes fraction", "data"), fontsize=8,
                          va="bottom")  # fmt: skip
        label_points(left, means["auc"], means["dau"], means["model"], size=8)
        clicks = means.filter(objective="clicks").sort("auc")
        color = COLORS["clicks"]
        for column, line in (("ctr, day 1", "-"), ("ctr, first request", "--")):
            right.plot(clicks["auc"], clicks[column], line, color=color, marker="o", ms=5,
                       label=column.removeprefix("ctr, "))  # fmt: skip
        left.set(
            xlabel="AUC of clicks on a held-out log",
            ylabel="share of users active in the last five days",
        )
        right.set(
            xlabel="AUC of clicks on a held-out log",
            ylabel="clicks per impression",
            title="ranked by clicks alone",
        )
        right.legend(fontsize=8)
        left.legend(fontsize=8, title="ranked by; small: one seed", title_fontsize=8)
    facts = ", ".join(
        f"{row['model']} for {row['objective']} AUC {row['auc']:.3f} users {row['dau']:.2f}"
        for row in means.iter_rows(named=True)
    )
    return Picture(
        figure, f"Share of users left against accuracy of the click model: {facts}.", hover
    )


def agreements(objectives: Measurements) -> Picture:
    """Draw how well the AUC of click models ranks their click rates, as users tire or do not."""
    rows = {
        "auc_first_ctr_spearman": "first request",
        "auc_ctr_spearman": "whole day",
        "auc_user_ctr_spearman": "whole day, each user once",
        "auc_tireless_ctr_spearman": "whole day, users never tire",
        "auc_tireless_user_ctr_spearman": "whole day, users never tire, each once",
    }
    return estimates({"rank correlation of AUC and click rate": rows}, objectives)


def surrogate(objectives: Measurements) -> Picture:
    """Draw what a log says of clicks, as far as it agrees with what a click is worth."""
    row = {"surrogate_click_agreement": "clicks, with watching held fixed"}
    return estimates({"weight of a response, times the sign of its worth": row}, objectives)


def constraints(frame: pl.DataFrame) -> Picture:
    """Draw watching against hate of policies learned under constraints.

    Args:
        frame: Columns ``method``, ``label``, ``watch``, ``hate``, ``seed``.
    """
    means = frame.group_by("method", "label", maintain_order=True).agg(
        pl.col("watch", "hate").mean()
    )
    with style():
        figure, axes = plt.subplots(figsize=(7.5, 4.4))
        for color, method, of in by_color(frame, "method"):
            rows = means.filter(method=method)
            axes.scatter(1000 * of["hate"], of["watch"], s=12, color=color, alpha=0.5)
            axes.plot(1000 * rows["hate"], rows["watch"], color=color, marker="o", ms=7, lw=1,
                      label=method)  # fmt: skip
        axes.set(xlabel="hate per 1,000 impressions", ylabel="watching per impression, share")
        title = "small: one seed; line: strengths of a method"
        axes.legend(fontsize=8, title=title, title_fontsize=8)
    facts = ", ".join(
        f"{row['label']} watching {row['watch']:.3f} hate {1000 * row['hate']:.1f} in 1,000"
        for row in means.iter_rows(named=True)
    )
    return Picture(figure, f"Watching against hate: {facts}.")


def corrections(measured: Measurements) -> Picture:
    """Draw what correcting for the logging policy gains, with its control, and the top-K factor."""
    panels = {
        "gain in watching over no correction": with_control(
            "capped_watch_gain", "misplaced_ratio_watch_gain",
            "capped ratio", "ratio to the chance of another request",
        )
        | {
            "tireless_capped_watch_gain": "capped ratio, users never tire",
            "first_request_watch_gain": "capped ratio, first lists alone",
        },
        "gain in watching over the capped ratio": {"top_k_watch_gain": "top-K factor"},
    }  # fmt: skip
    return estimates(panels, measured)


def first_lists(frame: pl.DataFrame) -> Picture:
    """Draw the true watching of each place of the first lists, before anyone is sated.

    Args:
        frame: Columns ``arm``, ``seed``, ``place``, ``watch``.
    """
    means = frame.group_by("arm", "place", maintain_order=True).agg(pl.col("watch").mean())
    with style():
        figure, axes = plt.subplots(figsize=(6.5, 3.8))
        for color, arm, rows in by_color(means, "arm"):
            axes.plot(rows["place"], rows["watch"], color=color, marker="o", ms=5, label=arm)
        axes.set(xlabel="place in the list", ylabel="watching if looked at, share of the video",
                 xticks=means["place"].unique().sort().to_list())  # fmt: skip
        axes.legend(fontsize=8)
    facts = "; ".join(
        f"{arm} {', '.join(f'{watch:.3f}' for watch in rows['watch'])}"
        for (arm,), rows in means.group_by("arm", maintain_order=True)
    )
    return Picture(figure, f"True watching by place of the first list. {facts}.")


def random_selections(frame: pl.DataFrame) -> Picture:
    """Draw the responses to the top items of rankers among random impressions.

    Args:
        frame: Columns ``objective``, ``model``, ``seed``, ``click``, ``watch``, ``hate``.
    """
    means = frame.group_by("objective", "model", maintain_order=True).agg(
        pl.col("click", "watch", "hate").mean()
    )
    told = means.select(
        "objective",
        pl.format(
            "{}: clicks {}, watching {}, hate {} in 1,000",
            pl.concat_str(pl.col("objective"), pl.col("model").replace("", None), separator=", ",
                          ignore_nulls=True),
            pl.col("click").round(3), pl.col("watch").round(3), (1000 * pl.col("hate")).round(1),
        ).alias("fact"),
    )  # fmt: skip
    hover: dict[Artist, list[str]] = {}
    objectives = means["objective"].unique(maintain_order=True)
    with style():
        figure, panels = plt.subplots(1, 2, figsize=(9, 4), sharey=True)
        for panel, (column, label, scale) in zip(
            panels,
            (("click", "clicks per impression", 1), ("hate", "hate per 1,000 impressions", 1000)),
            strict=True,
        ):
            for number, objective in enumerate(objectives):
                color = INK if number == 0 else PALETTE[(number - 1) % len(PALETTE)]
                rows, of = (part.filter(objective=objective) for part in (means, frame))
                panel.scatter(scale * of[column], of["watch"], s=12, color=color, alpha=0.5)
                points = panel.scatter(
                    scale * rows[column], rows["watch"], s=55, color=color,
                    marker="D" if number == 0 else "o", label=objective,
                )  # fmt: skip
                hover[points] = told.filter(objective=objective)["fact"].to_list()
            panel.set(xlabel=label)
        panels[0].set_ylabel("watching per impression, share")
        panels[1].legend(fontsize=8, title="ranked by; small: one seed", title_fontsize=8)
    facts = "; ".join(told["fact"])
    return Picture(figure, f"What rankers put first among random impressions. {facts}.", hover)


def random_estimates(frame: pl.DataFrame) -> Picture:
    """Draw estimates of policies from random impressions, with the truth if it is known.

    Args:
        frame: Columns ``label``, ``seed``, ``watch``, ``standard error`` and ``truth``.
    """
    labels = frame["label"].unique(maintain_order=True).to_list()
    seeds = frame["seed"].unique().sort().to_list()
    shifts = dict(zip(seeds, np.linspace(-0.3, 0.3, len(seeds) + 2)[1:-1], strict=True))
    known = frame.filter(pl.col("watch").is_not_nan())
    with style():
        height = (0.25 + 0.03 * len(seeds)) * len(labels) + 1.4
        figure, axes = plt.subplots(figsize=(7.5, height))
        for row in known.iter_rows(named=True):
            place = len(labels) - 1 - labels.index(row["label"]) + shifts[row["seed"]]
            axes.errorbar(row["watch"], place, xerr=1.96 * row["standard error"], fmt="o", ms=4,
                          color=PALETTE[0], lw=1)  # fmt: skip
            if row["truth"] is not None:
                size = 33 / max(3, len(seeds))  # points; marks of two lines do not touch
                axes.plot(row["truth"], place, marker="|", ms=size, mew=2, color=INK)
        axes.plot([], [], marker="o", ms=4, lw=1, color=PALETTE[0], label="estimate, 95 %")
        if known["truth"].is_not_null().any():
            axes.plot([], [], marker="|", ms=11, mew=2, ls="", color=INK, label="truth")
        axes.legend(fontsize=8, title="one line per seed", title_fontsize=8)
        axes.set(xlabel="watching per impression, share", yticks=range(len(labels)),
                 yticklabels=labels[::-1])  # fmt: skip
    facts = "; ".join(
        f"{row['label']} {row['watch']:.3f}"
        + ("" if row["truth"] is None else f", truth {row['truth']:.3f}")
        for row in known.group_by("label", maintain_order=True)
        .agg(pl.col("watch", "truth").mean())
        .iter_rows(named=True)
    )
    return Picture(figure, f"Watching under policies, estimated from random impressions. {facts}.")
