"""Figures of the graph and of the kinds of edges."""

from __future__ import annotations

import matplotlib.pyplot as plt
import networkx as nx
import numpy as np
import polars as pl
from matplotlib.axes import Axes

from okml.plotting import INK, PALETTE, Picture, style

PARTS = {"strong": PALETTE[0], "search": PALETTE[1], "swing": PALETTE[2], "weak": INK}
MARKERS = ("o", "s", "^", "D", "v")
GRAPHS = {"weak": "all consecutive clicks", "full": "strong, search and Swing"}


def picture(edges: pl.DataFrame) -> Picture:
    """Draw the same popular items in both graphs by a force-directed layout.

    Args:
        edges: Columns ``graph``, ``item``, ``neighbor``, ``weight``, ``part``, ``item_category``,
            ``neighbor_category``.
    """
    names = edges["graph"].unique(maintain_order=True).to_list()
    shares = []
    with style():
        figure, panels = plt.subplots(1, len(names), figsize=(10, 4.6), squeeze=False)
        for axes, name in zip(panels[0], names, strict=True):
            shares.append(_draw(axes, edges.filter(graph=name)))
            axes.set_title(f"{GRAPHS.get(name, name)}: {shares[-1]:.0%} within a category")
        lines = [
            plt.Line2D([], [], color=color, label=part)
            for part, color in PARTS.items()
            if part in edges["part"].unique()
        ]
        figure.legend(handles=lines, loc="outside lower center", ncols=len(lines), fontsize=8)
    facts = "; ".join(
        f"{GRAPHS.get(name, name)}: {share:.0%} of the weight stays within a category"
        for name, share in zip(names, shares, strict=True)
    )
    return Picture(
        figure,
        f"Items of three categories, told apart by marker, and the edges between them. {facts}.",
    )


def _draw(axes: Axes, edges: pl.DataFrame) -> float:
    """Draw one graph and return the share of weight within categories."""
    network = nx.Graph()
    categories: dict[int, int] = {}
    for row in edges.to_dicts():
        network.add_edge(row["item"], row["neighbor"], weight=row["weight"], part=row["part"])
        categories[row["item"]] = row["item_category"]
        categories[row["neighbor"]] = row["neighbor_category"]
    places = nx.spring_layout(network, seed=0, iterations=80, k=1.6 / max(1, len(network)) ** 0.5)
    for part, color in PARTS.items():
        pairs = [(a, b) for a, b, kind in network.edges(data="part") if kind == part]
        segments = [np.array([places[a], places[b]]) for a, b in pairs]
        for segment in segments:
            axes.plot(*segment.T, color=color, lw=0.8, alpha=0.45, zorder=1)
    for marker, category in zip(MARKERS, sorted(set(categories.values())), strict=False):
        points = np.array([places[n] for n, c in categories.items() if c == category])
        axes.plot(*points.T, marker, color=PALETTE[3 + MARKERS.index(marker)], ms=5.5, zorder=2)
    axes.set(xticks=[], yticks=[])
    axes.grid(visible=False)
    for side in axes.spines.values():
        side.set_visible(False)
    same = edges["item_category"] == edges["neighbor_category"]
    weight = edges["weight"].to_numpy()
    return float(weight[same.to_numpy()].sum() / weight.sum())


def statistics(report: pl.DataFrame) -> Picture:
    """Draw coverage and category purity of each kind of edge.

    Args:
        report: Columns ``part``, ``edges``, ``coverage``, ``same_category``.
    """
    rows = report.reverse().to_dicts()
    labels = {"coverage": "items with an edge", "same_category": "weight within a category"}
    with style():
        figure, panels = plt.subplots(1, 2, figsize=(9, 0.42 * len(rows) + 0.9), sharey=True)
        for axes, (column, label), color in zip(panels, labels.items(), PALETTE, strict=False):
            values = [row[column] or 0.0 for row in rows]
            bars = axes.barh(range(len(rows)), values, color=color, alpha=0.7)
            axes.bar_label(bars, fmt="%.2f", padding=3, fontsize=8)
            axes.set(xlabel=f"share: {label}", xlim=(0, 1.12))
            axes.grid(axis="y", visible=False)
        panels[0].set_yticks(
            range(len(rows)), [f"{row['part']} ({row['edges']:,} edges)" for row in rows]
        )
    facts = ", ".join(
        f"{r['part']} {r['edges']:,} edges, coverage {r['coverage']:.2f}, "
        f"{r['same_category'] or 0:.2f} within a category"
        for r in reversed(rows)
    )
    return Picture(figure, f"Kinds of edges by how many items they reach and how pure: {facts}.")


def long_tail(popularity: pl.DataFrame, degrees: pl.DataFrame, tail_clicks: int) -> Picture:
    """Draw clicks by rank of popularity, and the degree distribution.

    Args:
        popularity: Columns ``rank``, ``clicks``.
        degrees: Columns ``degree``, ``items``.
        tail_clicks: Number of clicks below which items are the tail.
    """
    with style():
        figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.6))
        left.plot(popularity["rank"], popularity["clicks"].clip(lower_bound=1), color=PALETTE[0])
        tail = popularity.filter(pl.col("clicks") < tail_clicks)
        if len(tail):
            left.axvspan(
                tail["rank"][0], popularity["rank"][-1], color=PALETTE[1], alpha=0.15, lw=0
            )
            left.annotate(
                "tail", (tail["rank"][0], 1.1), xytext=(-4, 4), textcoords="offset points",
                ha="right", fontsize=9,
            )  # fmt: skip
        left.set(xscale="log", yscale="log", xlabel="item, by rank of popularity",
                 ylabel="clicks in training")  # fmt: skip
        right.bar(degrees["degree"], degrees["items"], color=PALETTE[0], width=0.85)
        right.set(xlabel="neighbors in the merged graph", ylabel="items")
    isolated = degrees.filter(degree=0)["items"].sum()
    share = 1 - (tail["rank"][0] - 1) / popularity["rank"][-1] if len(tail) else 0.0
    return Picture(
        figure,
        f"Clicks by rank of popularity, and degrees in the merged graph. {share:.0%} of the items "
        f"have fewer than {tail_clicks} clicks; {isolated} of {degrees['items'].sum()} are "
        "isolated.",
    )
