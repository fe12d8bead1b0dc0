"""Attention weights as pictures (Figures 1 and 2 of the paper)."""

from __future__ import annotations

import matplotlib.pyplot as plt
import polars as pl
import polars.selectors as cs

from okml.plotting import PALETTE, Picture, by_color, style

LABELS = {
    "untrained": "untrained",
    "untrained, Xavier": "untrained, Xavier",
    "causal": "trained, causal",
    "bidirectional": "trained, bidirectional",
    "from scratch": "bidirectional, from scratch",
}


def heatmaps(maps: pl.DataFrame, statistics: pl.DataFrame) -> Picture:
    """Draw the mean attention matrix of each network (rows) and layer (columns).

    The maps have ``network``, ``layer``, ``query`` and the weights of the keys, from ``key 1`` on;
    the statistics have ``network``, ``layer`` and ``top5_mass``, for the text alternative.
    """
    networks = maps["network"].unique(maintain_order=True).to_list()
    layers = sorted(maps["layer"].unique())
    shown = layers if len(layers) <= 4 else [layers[0], layers[len(layers) // 2], layers[-1]]
    with style():
        figure, grid = plt.subplots(
            len(networks), len(shown), figsize=(2.1 * len(shown) + 1, 2.2 * len(networks)),
            squeeze=False, sharex=True, sharey=True,
        )  # fmt: skip
        for row, network in zip(grid, networks, strict=True):
            for axes, layer in zip(row, shown, strict=True):
                rows = maps.filter(network=network, layer=layer).sort("query")
                matrix = rows.select(cs.starts_with("key ")).to_numpy()  # [n, n]
                n = len(matrix)
                # In units of uniform attention 1/n, so that networks can share one scale.
                image = axes.imshow(
                    matrix * n, cmap="viridis", vmin=0, vmax=6, extent=(0.5, n + 0.5, n + 0.5, 0.5)
                )
                axes.grid(visible=False)
                if network == networks[0]:
                    axes.set_title(f"layer {layer}")
                if network == networks[-1]:
                    axes.set_xlabel("key (newest right)")
            row[0].set_ylabel(f"{LABELS[network]}\nquery")
        figure.colorbar(image, ax=grid, label="weight over even attention", shrink=0.7)
    mass = statistics.group_by("network", maintain_order=True).agg(pl.col("top5_mass").mean())
    facts = ", ".join(f"{LABELS[r['network']]} {r['top5_mass']:.2f}" for r in mass.to_dicts())
    return Picture(
        figure,
        "Mean attention weights by network and layer. Mass of the five fullest columns, "
        f"mean over layers: {facts}.",
    )


def spectrum(spectra: pl.DataFrame, histogram: pl.DataFrame, statistics: pl.DataFrame) -> Picture:
    """Draw the histogram of singular values, as in the paper, and their cumulative share.

    The spectra have ``network``, ``layer``, ``rank`` and ``cumulative``, the histogram ``network``,
    ``layer``, ``low``, ``high`` and ``count``, and the statistics ``network`` and
    ``effective_rank``, for the text alternative.
    """
    layers = sorted(spectra["layer"].unique())
    with style():
        figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6))
        for color, network, rows in by_color(spectra, "network"):
            bins = histogram.filter(network=network).group_by("low", "high", maintain_order=True)
            low, high, count = bins.agg(pl.col("count").sum()).to_numpy().T
            left.stairs(
                count / (count * (high - low)).sum(), [*low, high[-1]],
                color=color, label=LABELS[network], lw=1.6,
            )  # fmt: skip
            for number, layer in enumerate(layers):
                curve = rows.filter(layer=layer)
                right.plot(
                    curve["rank"], curve["cumulative"], color=color,
                    alpha=0.35 + 0.65 * (number + 1) / len(layers),
                    label=LABELS[network] if layer == layers[-1] else None,
                )  # fmt: skip
        left.set(xlabel="singular value", ylabel="density (log)", yscale="log")
        right.set(
            xlabel="number of singular values", ylabel="share of their sum", xscale="log",
            ylim=(0, 1.03),
        )  # fmt: skip
        right.axhline(0.9, lw=0.8, ls=":", color=PALETTE[6])
        right.legend(loc="lower right", fontsize=8)
    rank = statistics.group_by("network", maintain_order=True).agg(pl.col("effective_rank").mean())
    facts = ", ".join(f"{LABELS[r['network']]} {r['effective_rank']:.1f}" for r in rank.to_dicts())
    return Picture(
        figure,
        f"Singular values of attention matrices: histogram, and cumulative share with one line a "
        f"layer. Effective rank, mean over layers: {facts}.",
    )
