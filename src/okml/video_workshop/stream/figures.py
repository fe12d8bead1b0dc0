"""Figures of streams: quality by period, cost of updates, and discovery of new items."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import polars as pl
from matplotlib.ticker import MaxNLocator

from okml.plotting import INK, PALETTE, Picture, dots, row_of, style
from okml.steps import StepResult
from okml.video_workshop.stream.served import AGES

GAIN = ("difference", "low", "high")


def curves(frame: pl.DataFrame) -> Picture:
    """Draw the HR@10 gain over the stale model by period, as running means.

    Args:
        frame: Columns ``arm``, ``label``, ``seed``, ``period``, ``HR@10``.
    """
    base = frame.filter(arm="stale").select("seed", "period", pl.col("HR@10").alias("base"))
    rows = (
        frame.join(base, on=("seed", "period"), maintain_order="left")
        .group_by("label", "arm", "period", maintain_order=True)
        .agg((pl.col("HR@10") - pl.col("base")).mean().alias("gain"))
    )
    with style():
        figure, axes = plt.subplots(figsize=(5, 4.6))
        colors = itertools.cycle(PALETTE)
        last = {}
        for (label, arm), part in rows.group_by("label", "arm", maintain_order=True):
            gain = part["gain"].to_numpy()
            running = np.cumsum(gain) / np.arange(1, len(gain) + 1)
            if arm == "stale":
                axes.axhline(0, color=INK, lw=0.9, ls=":", label=str(label))
                continue
            axes.plot(part["period"], running, color=next(colors), label=str(label))
            last[str(label)] = float(running[-1])
        axes.set(
            xlabel="period", ylabel="HR@10 over the model left alone,\nmean since the first period"
        )
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        figure.legend(loc="outside lower left")
    facts = ", ".join(f"{label} {value:+.3f}" for label, value in last.items())
    return Picture(
        figure,
        "HR@10 over that of the model left alone with the same seeds, mean of periods so far. "
        f"At the end: {facts}.",
    )


def ages(frame: pl.DataFrame) -> Picture:
    """Draw HR@10 on launched items by their age.

    Args:
        frame: Columns ``label``, and one for each slice of ages.
    """
    slices, rows = list(AGES), frame.to_dicts()
    with style():
        figure, axes = plt.subplots(figsize=(7.5, 0.4 * len(rows) + 1.4))
        places = np.arange(len(rows))[::-1]
        for number, name in enumerate(slices):
            values = [np.nan if row[name] is None else row[name] for row in rows]
            axes.scatter(values, places, color=PALETTE[number], label=name, s=36)
        axes.set_yticks(places, [row["label"] for row in rows])
        # The axis starts below 0 for half a dot, and covers at least 0.02 if nothing is found.
        most = max(0.02, *(row[name] or 0 for row in rows for name in slices))
        axes.set(xlabel="HR@10 on launched items, by age", xlim=(-0.04 * most, 1.04 * most))
        axes.legend(fontsize=8, loc="lower right")
    facts = "; ".join(
        f"{row['label']}: "
        + ", ".join(
            f"{name} {'none' if row[name] is None else f'{row[name]:.3f}'}" for name in slices
        )
        for row in rows
    )
    return Picture(figure, f"HR@10 on launched items by age. {facts}.")


def shock(frame: pl.DataFrame) -> Picture:
    """Draw HR@10 of each period before and after the shift of taste, means over seeds.

    Args:
        frame: Columns ``arm``, ``label``, ``period``, ``shifted``, ``HR@10``.
    """
    told: list[str] = []
    means = frame.group_by("arm", "label", "period", "shifted", maintain_order=True).mean()
    with style():
        figure, axes = plt.subplots(figsize=(7.5, 3.6))
        for (name,), part in means.group_by("label", maintain_order=True):
            alone = len(told) == 0
            axes.plot(
                part["period"], part["HR@10"], label=str(name), marker="o", ms=3,
                color=INK if alone else PALETTE[0], ls=":" if alone else "-",
            )  # fmt: skip
            before, after = (
                part.filter(shifted=late)["HR@10"].to_numpy().mean() for late in (False, True)
            )
            told.append(f"{name} {before:.3f} before and {after:.3f} after")
        first = float(means.filter("shifted")["period"].to_numpy().min())
        axes.axvline(first - 0.5, color=INK, lw=0.9)
        axes.set(xlabel="period", ylabel="HR@10", ylim=(0, None))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(fontsize=8, loc="lower left")
    facts = "; ".join(told)
    return Picture(figure, f"HR@10 of each period, a shift of taste at the line: {facts}.")


def update_intervals(updates: StepResult) -> Picture:
    """Draw gains in HR@10: the most over the fewest updates, and each interval over one a period.

    Args:
        updates: The step; its frame ``shards`` has the columns ``days between updates``,
            ``difference``, ``low`` and ``high``, null for one update a period.
    """
    days = "days between updates"
    shards, gain = updates.frames["shards"], updates.metrics["frequent_update_hr10_gain"]
    [usual] = shards.filter(pl.col("difference").is_null())[days]
    most, fewest = min(shards[days]), max(shards[days])
    name, *whole = row_of(f"from {fewest:g} to {most:g} days", gain)
    found: dict[str, Sequence[float]] = {name: whole}
    for own, *of in shards.drop_nulls("difference").select(days, *GAIN).iter_rows():
        found.setdefault(f"from {usual:g} to {own:g} days", of)
    rows = pl.DataFrame([(name, *of) for name, of in found.items()], ["name", *GAIN], orient="row")
    with style():
        figure, axes = plt.subplots(figsize=(5, 0.33 * len(rows) + 1))
        dots(axes, rows, "difference", "name")
        axes.axvline(0, color=INK, lw=0.8)
        axes.set_xlabel("gain in HR@10")
    facts = "; ".join(
        f"{name} {value:z.4f} [{low:z.4f}, {high:z.4f}]"
        for name, value, low, high in rows.iter_rows()
    )
    return Picture(figure, f"Gain in HR@10 from another interval of updates: {facts}.")


def sessions(frame: pl.DataFrame) -> Picture:
    """Draw Recall@20 of each period for ADER's strategies, one panel for each log.

    Args:
        frame: Columns ``log``, ``label``, ``period``, ``Recall@20``.
    """
    logs = frame["log"].unique(maintain_order=True).to_list()
    labels = frame["label"].unique(maintain_order=True).to_list()
    means, lines = [], {}
    with style():
        width = 4.4 * max(len(logs), 1) + (3.2 if logs else 0)  # inches; the legend is on the right
        figure, panels = plt.subplots(1, max(len(logs), 1), figsize=(width, 3.6), squeeze=False)
        for axes, name in zip(panels[0], logs, strict=False):
            for label, color in zip(labels, itertools.cycle(PALETTE), strict=False):
                of_seeds = frame.filter(log=name, label=label).group_by("period")
                part = of_seeds.agg(pl.mean("Recall@20")).sort("period")
                if part.is_empty():
                    continue
                (lines[label],) = axes.plot(
                    part["period"], part["Recall@20"], color=color, marker="o", ms=3
                )
                means.append(f"{name}, {label} {np.mean(part['Recall@20'].to_numpy()):.3f}")
            axes.set(title=name, xlabel="period", ylabel="Recall@20")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if not logs:
            panels[0, 0].axis("off")
            panels[0, 0].text(0, 0.5, "This scale has no log of sessions.")
        else:
            panels[0, -1].legend(
                list(lines.values()), list(lines), fontsize=8, loc="upper left",
                bbox_to_anchor=(1.01, 1),
            )  # fmt: skip
    told = "; ".join(means) if means else "this scale has no log of sessions"
    return Picture(figure, f"Recall@20 on the next period of sessions, mean over periods: {told}.")
