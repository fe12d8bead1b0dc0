"""The figures of the chapter, each a function from frames to a Picture."""

from __future__ import annotations

import itertools

import matplotlib.pyplot as plt
import numpy as np
import polars as pl
from matplotlib.artist import Artist

from okml.ledger import Measurements
from okml.offline_rl.arms import CONTROL, STAGE1
from okml.offline_rl.experiments.cells import COLUMNS, FULL, PAPER_RIVALS, tested_by
from okml.offline_rl.simulator import LOGGING
from okml.plotting import (
    INK,
    PALETTE,
    Picture,
    by_color,
    claim_bars,
    dots,
    estimates,
    label_points,
    line_beside_rows,
    names_above,
    style,
    with_control,
)
from okml.profile import ProfileName

METRIC = "ndcg@10"
# The frames that a record keeps, so that the site draws them without the run: by the name of the
# record's table, the step and the frame.
RECORDED = {
    "data": "data.data",
    "choices": "shop.choices",
    "ties": "ties.ties",
    "curves": "training.curves",
    "trainings": "training.costs",
    "searches": "training.rates",
    "fits": "critics.fits",
    "calibration": "critics.calibration",
    "verdict": "cells.verdict",
    "cells": "cells.cells",
    "table": "cells.table",
    "wanted": "cells.wanted",
    "other_rule": "cells.other_rule",
    "starts": "starts.starts",
    "filters": "filters.filters",
    "returns": "returns.returns",
    "rates": "returns.rates",
    "preferences": "preferences.preferences",
    "ope": "evaluation.simulator",
    "ope_logs": "evaluation.logs",
}


def draw_curves(frame: pl.DataFrame) -> Picture:
    """Draw validation NDCG@10 by update: stage 1 on the left, stage 2 on the right.

    Args:
        frame: Columns ``arm``, ``label``, ``seed``, ``stage``, ``step``, ``ndcg@10``.
    """
    ndcg = pl.col(METRIC)
    colors = dict(zip(frame["arm"].unique(maintain_order=True), PALETTE, strict=False))
    means = frame.group_by("arm", "label", "stage", "step", maintain_order=True).agg(
        ndcg.mean(), ndcg.min().alias("low"), ndcg.max().alias("high")
    )
    best = frame.group_by("arm", "label", "seed", maintain_order=True).agg(ndcg.max())
    best = best.group_by("arm", "label", maintain_order=True).agg(ndcg.mean())
    level = float(best.filter(arm=STAGE1)[METRIC][0])
    titles = ("from scratch: stage 1, and CRR alone", "stage 2, from the best of stage 1")
    with style():
        figure, panels = plt.subplots(1, 2, figsize=(8.5, 3.8), sharey=True)
        for stage, (axes, title) in enumerate(zip(panels, titles, strict=True), 1):
            for (arm, label), rows in means.filter(stage=stage).group_by(
                "arm", "label", maintain_order=True
            ):
                rows, color = rows.sort("step"), colors[arm]
                axes.fill_between(
                    rows["step"], rows["low"], rows["high"], color=color, alpha=0.2, lw=0
                )
                axes.plot(rows["step"], rows[METRIC], marker="o", ms=3, color=color, label=label)
            axes.axhline(level, color=INK, lw=0.8, ls=":")
            axes.set(xlabel="updates of the actor, both stages counted", title=title)
            axes.legend(fontsize=8, loc="lower right")
        panels[0].set(ylabel="validation NDCG@10 (band: seeds)", ylim=(0, None))
    facts = ", ".join(f"{row['label']} {row[METRIC]:.4f}" for row in best.to_dicts())
    return Picture(
        figure,
        f"Validation NDCG@10 by update in both stages; the dotted line is the best of stage 1, "
        f"{level:.4f}. Best of each: {facts}.",
    )


def draw_calibration(frame: pl.DataFrame) -> Picture:
    """Draw what critics predict against what came of it, on held-out users of each log.

    Args:
        frame: Columns ``data``, ``group``, ``value``, ``return``: means of groups of rows with
            similar values.
    """
    logs = frame["data"].n_unique()
    facts = []
    with style():
        figure, panels = plt.subplots(1, logs, figsize=(3.6 * logs + 1, 3.8), squeeze=False)
        for axes, (color, log, rows) in zip(panels[0], by_color(frame, "data"), strict=True):
            axes.plot(rows["value"], rows["return"], "o-", color=color)
            values, returns = rows["value"].to_list(), rows["return"].to_list()
            least, most = min(*values, *returns), max(*values, *returns)
            axes.axline((least, least), (most, most), color=INK, lw=0.8, ls=":")
            axes.set(title=log, xlabel="Q of the logged action")
            facts.append(
                f"on {log} values go from {values[0]:.2f} to {values[-1]:.2f} and returns from "
                f"{returns[0]:.2f} to {returns[-1]:.2f}"
            )
        panels[0, 0].set_ylabel("discounted return that followed")
    return Picture(
        figure,
        f"Mean return against mean value of tenths of held-out transitions: {'; '.join(facts)}. "
        "On the dotted line they are equal.",
    )


def draw_preferences(frame: pl.DataFrame) -> Picture:
    """Draw what an introduction gains over a core item, as it was simulated and by the critics.

    Args:
        frame: Columns ``policy``, ``introductions seen``, ``gain of an introduction`` and
            ``gain by the critics``, a row for each policy and number.
    """
    names = {"gain of an introduction": "in the simulator", "gain by the critics": "by the critics"}
    policies, facts = frame["policy"].unique(maintain_order=True), []
    with style():
        figure, panels = plt.subplots(
            1, len(policies), figsize=(3.6 * len(policies) + 1, 3.6), sharey=True, squeeze=False
        )
        for axes, policy in zip(panels[0], policies, strict=True):
            rows = frame.filter(policy=policy)
            for color, (column, name) in zip(PALETTE, names.items(), strict=False):
                axes.plot(rows["introductions seen"], rows[column], "o-", color=color, label=name)
                gains = ", ".join(f"{gain:.3f}" for gain in rows[column])
                facts.append(f"{policy}, {name}: {gains}")
            axes.axhline(0, color=INK, lw=0.8)
            axes.set(title=policy, xlabel="introductions seen", xticks=rows["introductions seen"])
        panels[0, 0].set_ylabel("return with an introduction,\nless that with a core item")
        panels[0, 0].legend()
    return Picture(
        figure,
        "Discounted return with an introduction less that with a core item, by introductions seen "
        f"before: {'; '.join(facts)}.",
    )


def draw_ratios(profile: ProfileName, frame: pl.DataFrame) -> Picture:
    """Draw the ratios behind the factor 1.5 with their intervals, and the bar at a profile.

    Args:
        profile: The name of the profile.
        frame: Columns ``metric``, ``ratio``, ``value``, ``low`` and ``high``.
    """
    bar = claim_bars("offline_rl", profile)["finetuning_ratio"]
    metric = pl.col("metric").str.to_uppercase()
    shown = frame.with_columns(metric, label=pl.format("{}: {}", metric, "ratio"))
    with style():
        figure, axes = plt.subplots(figsize=(4.4, 0.45 * len(shown) + 1))
        colors = [PALETTE[name == "CRR over control"] for name in shown["ratio"]]
        dots(axes, shown, "value", "label", colors, above=True)
        line_beside_rows(axes, len(shown), 1)
        line_beside_rows(axes, len(shown), 1.5, "dotted")
        marks = [("the digest's 1.5", 1.5, "right")]
        if bar > 1:
            line_beside_rows(axes, len(shown), bar, "dotted")
            marks = [(f"bar {bar:g}", bar, "right"), ("the digest's 1.5", 1.5, "left")]
            axes.set_xlim(right=1.75)
        for words, x, side in marks:
            axes.annotate(words, (x, 1), xycoords=("data", "axes fraction"), ha=side, va="bottom")
        axes.set_xlabel("ratio of test metrics (line: 95 % over users and seeds)")
    facts = "; ".join(
        f"{row['ratio']} {row['value']:.2f} ({row['low']:.2f} to {row['high']:.2f}) in "
        f"{row['metric']}"
        for row in shown.to_dicts()
    )
    return Picture(figure, f"Ratios of test metrics: {facts}. Bar: {bar:g}.")


def draw_cells(cells: pl.DataFrame) -> Picture:
    """Draw the two-stage model's metric over that of each rival, in the cells that count.

    Args:
        cells: Columns ``data``, ``metric``, ``rewards``, and the mean of each model.
    """
    full, *rivals = (COLUMNS[arm] for arm in (FULL, *PAPER_RIVALS))
    counted = cells.filter(pl.col("rewards") != tested_by(np.zeros(1, np.float32)))
    facts = []
    with style():
        figure, axes = plt.subplots(figsize=(5, 0.42 * len(counted) + 1.2))
        for color, rival in zip(PALETTE, rivals, strict=False):
            over = counted[full] / counted[rival]
            axes.scatter(over, range(len(over)), color=color, label=rival)
            facts.append(f"{rival} {min(over):.2f} to {max(over):.2f}")
        named = pl.concat_str("data", pl.col("metric").str.to_uppercase(), separator=", ")
        names_above(axes, counted.select(named).to_series().to_list())
        line_beside_rows(axes, len(counted), 1)
        axes.set_xlabel(f"{full}: metric over that of a rival")
        figure.legend(loc="outside upper right", ncols=len(rivals), fontsize=8)
    told = f"{full}: metric over that of a rival, in {len(counted)} cells"
    return Picture(figure, f"{told}: {'; '.join(facts)}. It wins a cell where all are above 1.")


def draw_gains(table: pl.DataFrame, data: str) -> Picture:
    """Draw NDCG@10 of each arm less that of the control, with its interval.

    Args:
        table: Columns ``data``, ``arm``, ``label``, ``ndcg@10``, ``difference``, ``low``, ``high``.
        data: The name of the data set.
    """
    rows = table.filter(data=data).sort(METRIC, descending=True)
    control = rows.filter(arm=CONTROL)[METRIC][0]
    shown = rows.filter(pl.col("difference").is_not_null())
    with style():
        figure, axes = plt.subplots(figsize=(7.5, 0.33 * len(shown) + 1))
        dots(axes, shown, "difference", "label", _colors(shown))
        axes.axvline(0, color=INK, lw=0.8)
        axes.set_xlabel("NDCG@10 less the control's (line: 95 % over users and seeds)")
    facts = ", ".join(f"{row['label']} {row[METRIC]:.4f}" for row in rows.to_dicts())
    return Picture(
        figure, f"NDCG@10 on {data}, arms less the control, which has {control:.4f}: {facts}."
    )


def _colors(rows: pl.DataFrame) -> list[str]:
    """Return the color of each arm: those of CRR have the second one."""
    return [PALETTE[is_crr] for is_crr in rows["arm"].str.starts_with("crr")]


def draw_long_term(profile: ProfileName, returns: Measurements) -> Picture:
    """Draw the returns of CRR over that of cloning, with the bar and the control that decide."""
    ratio, blind = "simulated_return_ratio", "simulated_return_ratio_gamma0"
    rows = {
        ratio: "two stages (CRR)",
        blind: "CRR that is blind to the future",
        f"{ratio}-{blind}": "two stages (CRR) less CRR that is blind to the future",
        f"{ratio}_best_rates": "two stages (CRR), rates of the highest return",
        f"{ratio}_right": "right actions only",
        f"{ratio}_right_best_rates": "right actions only, rates of the highest return",
    }
    panels = {"return over that of cloning": rows}
    return estimates(panels, returns, bars=claim_bars("offline_rl", profile))


def draw_filters(filters: Measurements) -> Picture:
    """Draw what the filters of CRR change, beside cloning and beside the same weights at random."""
    panels = {
        "HR@10 less that of cloning": {
            "exp_filter_hr10_difference": "CRR, β = 1",
            "greedy_filter_hr10_difference": "two stages (CRR)",
            "greedy_dealt_hr10_difference": "CRR, weights at random",
        },
        "HR@10 less that with weights at random": {
            "greedy_filter_hr10_gain_over_dealt": "two stages (CRR)",
            "binary_filter_hr10_gain_over_dealt": "CRR, binary",
        },
        "HR@10 on wanted events, less that on others": with_control(
            "liked_gap_binary",
            "liked_gap_binary_dealt",
            "CRR, binary",
            "CRR, binary, weights at random",
        ),
    }
    return estimates(panels, filters)


def draw_trade(filters: pl.DataFrame) -> Picture:
    """Draw each arm's HR@10 against its gap between wanted and other targets.

    Args:
        filters: Columns ``arm``, ``label``, ``HR@10``, ``gap``; one row for each arm and seed.
    """
    rows = filters.group_by("arm", "label", maintain_order=True).agg(pl.col("HR@10", "gap").mean())
    with style():
        figure, axes = plt.subplots(figsize=(7.5, 4.2))
        points = axes.scatter(rows["HR@10"], rows["gap"], c=_colors(rows), s=36)
        axes.axhline(0, color=INK, lw=0.8)
        axes.margins(x=0.15)
        axes.set(
            xlabel="HR@10 on all test events",
            ylabel="HR@10 on wanted events, less that on others",
        )
        label_points(axes, rows["HR@10"], rows["gap"], rows["label"])
    facts = ", ".join(
        f"{row['label']} {row['HR@10']:.3f} and {row['gap']:.3f}" for row in rows.to_dicts()
    )
    hover = [f"{r['label']}: HR@10 {r['HR@10']:.3f}, gap {r['gap']:.3f}" for r in rows.to_dicts()]
    return Picture(
        figure,
        f"HR@10 against the gap between wanted and other events, after the last step: {facts}.",
        {points: hover},
    )


def draw_returns(frame: pl.DataFrame, stationary: float, myopic: float) -> Picture:
    """Draw true return against the next-item metric.

    Args:
        frame: Columns ``arm``, ``label``, ``seed``, ``return``, ``HR@10``; rows without the last
            are scripted policies, of which the logging policy is drawn as a line.
        stationary: The exact return of the best stationary policy, which knows the interest.
        myopic: The exact return of the policy that maximizes each next reward.
    """
    rows = frame.drop_nulls("HR@10")
    logged = float(frame.filter(arm=LOGGING).select(pl.col("return").mean()).item())
    means = rows.group_by("arm", "label", maintain_order=True).agg(pl.col("return", "HR@10").mean())
    lines = {
        "best stationary, knows the interest": stationary,
        "myopic, knows it too": myopic,
        f"{LOGGING}, knows it too": logged,
    }
    facts: list[str] = []
    hover: dict[Artist, list[str]] = {}
    with style():
        figure, axes = plt.subplots(figsize=(7.5, 4.4))
        for row, color in zip(means.to_dicts(), itertools.cycle(PALETTE), strict=False):
            of, label = rows.filter(arm=row["arm"]), row["label"]
            axes.scatter(of["HR@10"], of["return"], s=14, color=color, alpha=0.5)
            mean = axes.scatter([row["HR@10"]], [row["return"]], s=60, color=color, label=label)
            facts.append(f"{label} {row['return']:.2f} at HR@10 {row['HR@10']:.3f}")
            hover[mean] = [f"{label}: return {row['return']:.2f}, HR@10 {row['HR@10']:.3f}"]
        for name, value in lines.items():
            axes.axhline(value, color=INK, lw=0.8, ls=":")
            axes.annotate(
                name, (0.01, value), xycoords=("axes fraction", "data"), fontsize=8, va="bottom"
            )
        axes.legend(fontsize=8, title="large: mean of seeds; small: one seed", title_fontsize=8)
        axes.set(
            xlabel="HR@10 on the held-out log", ylabel="true return of a session", ylim=(0, None)
        )
    return Picture(
        figure,
        f"True return in the simulator against HR@10 on its log: {', '.join(facts)}. The best "
        f"stationary policy gets {stationary:.2f}; the myopic recommender gets {myopic:.2f}, the "
        f"log's policy {logged:.2f}.",
        hover,
    )


def draw_rates(frame: pl.DataFrame) -> Picture:
    """Draw the true return of an arm at each learning rate, means and range over seeds.

    Args:
        frame: Columns ``arm``, ``label``, ``factor of the rate``, ``seed``, ``return`` and
            ``validation NDCG@10``, which chose the rate that is drawn large.
    """
    earned, rate = pl.col("return"), "factor of the rate"
    facts = []
    with style():
        figure, axes = plt.subplots(figsize=(4.4, 3.8))
        for color, label, rows in by_color(frame, "label"):
            means = rows.group_by(rate).agg(
                earned.mean(), earned.min().alias("low"), earned.max().alias("high"),
                pl.col("validation NDCG@10").mean().alias("validation"),
            ).sort(rate)  # fmt: skip
            axes.fill_between(
                means[rate], means["low"], means["high"], color=color, alpha=0.2, lw=0
            )
            axes.plot(means[rate], means["return"], "o-", ms=4, color=color, label=label)
            chosen = means.sort("validation")[-1]
            axes.plot(chosen[rate], chosen["return"], "o", ms=9, color=color)
            values = ", ".join(f"{r['return']:.2f} at {r[rate]:.2g}" for r in means.to_dicts())
            facts.append(f"{label} {values}")
        axes.set(
            xscale="log", xlabel="factor of the rate (large: best on the next item)",
            ylabel="true return of a session", ylim=(0, None),
        )  # fmt: skip
        axes.set_xticks(frame[rate].unique().sort(), minor=False)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.2g}")
        axes.xaxis.set_minor_formatter("")
        figure.legend(loc="outside upper left", fontsize=9)
    return Picture(
        figure,
        f"True return by the factor of the learning rate, means over seeds: {'; '.join(facts)}.",
    )


def draw_estimates(frame: pl.DataFrame) -> Picture:
    """Draw off-policy estimates and the true returns by horizon, and effective sample sizes.

    Args:
        frame: Columns ``policy``, ``horizon``, ``estimator``, ``value``, ``standard_error``,
            ``effective``, ``truth``, ``reported``, ``miss``; misses are crossed.
    """
    policies = frame["policy"].unique(maintain_order=True)
    names = frame["estimator"].unique(maintain_order=True)
    with style():
        figure, panels = plt.subplots(
            2, len(policies), figsize=(8.5, 5.6), sharex=True, sharey="row", squeeze=False
        )
        for column, policy in enumerate(policies):
            above, below = panels[:, column]
            of = frame.filter(policy=policy).sort("horizon")
            truth = of.unique("horizon", maintain_order=True)
            above.plot(truth["horizon"], truth["truth"], color=INK, lw=2, label="truth")
            for name, color in zip(names, PALETTE, strict=False):
                rows = of.filter(estimator=name)
                above.errorbar(
                    rows["horizon"], rows["value"], 2 * rows["standard_error"], color=color,
                    marker="o", ms=4, lw=1, label=name, capsize=2,
                )  # fmt: skip
                missed = rows.filter("miss")
                above.plot(missed["horizon"], missed["value"], "x", color=INK, ms=9)
                if name in ("importance", "clipped importance"):
                    below.plot(
                        rows["horizon"], rows["effective"], color=color, marker="o", ms=4,
                        label=name,
                    )  # fmt: skip
            above.set_title(policy)
            below.set(yscale="log", xlabel="actions that are looked ahead")
        panels[0, 0].set_ylabel("discounted return\n(line: two standard errors)")
        panels[1, 0].set_ylabel("effective sessions")
        panels[0, 0].legend(fontsize=8)
        panels[1, 0].legend(fontsize=8)
    last = frame.filter(pl.col("horizon") == frame["horizon"].max(), estimator="doubly robust")
    facts = ", ".join(
        f"{row['policy']}: truth {row['truth']:.2f}, "
        + (f"doubly robust {row['value']:.2f}" if row["reported"] else "no estimate reported")
        + f", {row['effective']:.0f} effective sessions"
        for row in last.to_dicts()
    )
    said, misses = frame["reported"].sum(), frame["miss"].sum()
    return Picture(
        figure,
        f"Off-policy estimates by horizon. At the longest one, {facts}. Of {said} reported "
        f"estimates {misses} miss the truth by more than two standard errors; they are crossed.",
    )


def draw_tie_break(ties: Measurements) -> Picture:
    """Draw what the order of tied ratings changes."""
    row = {"item_id_order_hr10_gain": "ties in the order of items, not at random"}
    return estimates({"relative change of HR@10": row}, ties)


def draw_early_start(starts: Measurements) -> Picture:
    """Draw what stage 2 gains after a stage 1 that was stopped early."""
    panels = {
        "NDCG@10 over that after an early stage 1": {
            "early_ratio_supervised": "stage 2, all weights one",
            "early_ratio_crr": "two stages (CRR)",
        }
    }
    return estimates(panels, starts)


def draw_losses(cells: Measurements) -> Picture:
    """Draw the two-stage model and the full softmax beside SASRec with one negative."""
    panels = {
        "gain in NDCG@10 over SASRec, one negative": with_control(
            "ndcg_gain_over_sasrec_bce", "sasrec_ce_ndcg_gain_over_bce",
            "two stages (CRR)", "SASRec, full softmax",
        ),
        "NDCG@10 over that after stage 1": {"rl_only_ratio": "CRR alone"},
    }  # fmt: skip
    return estimates(panels, cells)
