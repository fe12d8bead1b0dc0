"""Neurons, pushes and pins: what inside the model carries a coordinate."""

from __future__ import annotations

from itertools import product

import matplotlib.pyplot as plt
import polars as pl

from okml.plotting import INK, PALETTE, Picture, by_color, style
from okml.space_time.figures.common import mean_by, require

LONGEST = 42  # characters of a prompt over its panel


def neurons(rows: pl.DataFrame, random: pl.DataFrame) -> Picture:
    """Draw the best neurons of each target beside the best random direction (Figure 5).

    Args:
        rows: Columns ``target``, ``layer``, ``neuron``, ``rho``; several a target.
        random: Columns ``draw``, ``rho``: the best of as many random directions, drawn once or
            several times; the mean over draws is shown.
    """
    require(rows, "neurons")
    reached = random.group_by("draw").agg(pl.col("rho").abs().max())["rho"].to_numpy().mean()
    ranked = rows.sort(pl.col("rho").abs(), descending=True)
    # A neuron has several weights to project on; the best one stands for it.
    once = ranked.unique(["target", "layer", "neuron"], keep="first", maintain_order=True)
    shown = once.group_by("target", maintain_order=True).head(5)
    labels = [f"L{layer}.{neuron}" for layer, neuron in shown.select("layer", "neuron").iter_rows()]
    targets = shown["target"].unique(maintain_order=True).to_list()
    colors = [PALETTE[targets.index(target)] for target in shown["target"]]
    with style():
        figure, axes = plt.subplots(figsize=(7.5, 0.9 + 0.26 * shown.height))
        axes.barh(range(shown.height), shown["rho"].abs(), color=colors)
        axes.set_yticks(range(shown.height), labels)
        axes.axvline(reached, color=INK, linestyle="--", label="best random direction")
        for color, target, _ in by_color(shown, "target"):
            axes.barh(0, 0, color=color, label=target)
        axes.invert_yaxis()
        axes.set(xlabel="absolute Spearman ρ with the target", ylabel="layer.neuron")
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    top = shown.sort(pl.col("rho").abs(), descending=True).row(0, named=True)
    return Picture(
        figure,
        f"Best neurons for each target. The best is L{top['layer']}.{top['neuron']} with absolute "
        f"ρ {abs(top['rho']):.2f} for {top['target']}; random directions reach {reached:.2f}.",
    )


def steering(rows: pl.DataFrame) -> Picture:
    """Draw the change of the model's answer against the push, beside random directions.

    Args:
        rows: Columns ``direction`` (``probe``, ``covariance`` or ``random``), ``index``,
            ``strength``, ``shift`` (nats of log-odds).
    """
    require(rows, "pushes")
    with style():
        figure, axes = plt.subplots(figsize=(6.5, 4))
        for index in rows.filter(direction="random")["index"].unique(maintain_order=True):
            line = rows.filter(direction="random", index=index).sort("strength")
            label = "random directions" if index == 0 else None
            axes.plot(line["strength"], line["shift"], color=INK, alpha=0.25, lw=1, label=label)
        ends = []
        for color, direction, label in (
            (PALETTE[1], "probe", "longitude, probe"),
            (PALETTE[0], "covariance", "longitude, covariance"),
        ):
            line = mean_by(rows.filter(direction=direction), "strength", "shift")
            axes.plot(line["strength"], line["shift"], "o-", color=color, label=label)
            ends.append((line["shift"][0], line["shift"][-1]))
        axes.axhline(0, color=INK, linewidth=0.8)
        axes.set(
            xlabel="push, in units of the mean residual norm",
            ylabel="change of log-odds, Asia over North America",
        )
        axes.legend()
    random = rows.filter(direction="random")
    low, high = random["shift"].to_numpy().min(), random["shift"].to_numpy().max()
    return Picture(
        figure,
        "Change of the log-odds of Asia over North America against the push along the longitude "
        f"direction of the probe, from {ends[0][0]:.2f} to {ends[0][1]:.2f} nats, and along the "
        f"covariance with longitude, from {ends[1][0]:.2f} to {ends[1][1]:.2f}; "
        f"{random['index'].n_unique()} random directions stay between {low:.2f} and {high:.2f}.",
    )


def neuron_sweep(rows: pl.DataFrame) -> Picture:
    """Draw the next token's probabilities against the value a neuron is pinned to.

    Args:
        rows: Columns ``prompt``, ``neuron``, ``value`` (null: untouched), ``token``,
            ``probability``; a row of panels a neuron. A long prompt is cut: its end asks.
    """
    require(rows, "pinned neurons")
    pinned = rows.drop_nulls("value")
    prompts, swept = (rows[name].unique(maintain_order=True) for name in ("prompt", "neuron"))
    size = (3.4 * len(prompts), 3.4 * len(swept))
    with style():
        figure, grid = plt.subplots(
            len(swept), len(prompts), figsize=size, sharey=True, squeeze=False
        )
        for (neuron, prompt), axes in zip(product(swept, prompts), grid.flat, strict=True):
            panel = pinned.filter(neuron=neuron, prompt=prompt)
            for token in panel["token"].unique(maintain_order=True):
                line = panel.filter(token=token).sort("value")
                axes.plot(line["value"], line["probability"], "o-", ms=3, label=repr(token))
            axes.set_title(f"{_end_of(prompt)} …", fontsize=8)
            axes.set_xlabel(f"pinned activation, {neuron}")
            axes.legend(fontsize=7, loc="upper center", ncols=5, handlelength=1, columnspacing=0.9)
        grid[0, 0].set_ylim(top=1.2 * pinned["probability"].to_numpy().max())  # legends need room
        for axes in grid[:, 0]:
            axes.set_ylabel("probability of the next token")
    ends = pinned.group_by("neuron", maintain_order=True).agg(
        low=pl.col("value").min(), high=pl.col("value").max()
    )
    facts = ", ".join(
        f"{row['neuron']} from {row['low']:.1f} to {row['high']:.1f}" for row in ends.to_dicts()
    )
    return Picture(
        figure,
        f"Probabilities of the next token under {len(prompts)} prompts while a neuron is pinned: "
        f"{facts}.",
    )


def _end_of(prompt: str) -> str:
    """Return the last words of a prompt that is too long."""
    if len(prompt) <= LONGEST:
        return prompt
    return f"… {prompt[-LONGEST:].partition(' ')[2]}"
