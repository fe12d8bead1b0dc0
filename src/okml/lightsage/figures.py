"""The figures of the chapter."""

from __future__ import annotations

import textwrap
from itertools import pairwise

import matplotlib.pyplot as plt
import networkx as nx
import numpy as np
import polars as pl
from matplotlib.axes import Axes

from okml.ledger import Measurements
from okml.plotting import (
    INK,
    PALETTE,
    Box,
    Picture,
    by_color,
    claim_bars,
    diagram,
    dots,
    estimates,
    let_names_run_on,
    line_beside_rows,
    style,
    with_control,
)
from okml.profile import ProfileName

# The frames that a record keeps, so that the site draws them without the run: by the name of the
# record's table, the step and the frame.
RECORDED = {
    "data": "data.data",
    "edges": "graph.report",
    "overlap": "graph.overlap",
    "popularity": "graph.popularity",
    "degrees": "graph.degrees",
    "picture": "graph.picture",
    "costs": "costs.costs",
    "trainings": "training.trainings",
    "losses": "losses.summary",
    "loss_curves": "losses.curves",
    "graphs": "graphs.summary",
    "scarce_search_summary": "scarce_search.summary",
    "scarce_search_seeds": "scarce_search.seeds",
    "in_view": "in_view.summary",
    "networks": "networks.summary",
    "tail": "tail.summary",
    "tail_buckets": "tail.buckets",
    "baselines": "baselines.summary",
    "real_summary": "real.summary",
    "real_seeds": "real.seeds",
    "gallery": "gallery.gallery",
    "indices": "serving.indices",
}
# Columns of slices of the items, and by how many clicks of training they are told apart.
SLICES = {
    "head": ("o", "head (many clicks)"),
    "tail": ("s", "tail (few)"),
    "cold": ("^", "cold (none)"),
}
PARTS = {"strong": PALETTE[0], "search": PALETTE[1], "swing": PALETTE[2], "weak": INK}
MARKERS = ("o", "s", "^", "D", "v")
GRAPHS = {"weak": "all consecutive clicks", "full": "strong, search and Swing"}
# What the names of arms mean, or how others write them.
ARMS = {
    "weak": "weak (all consecutive clicks)",
    "weak, as few edges": "weak, as few edges (most frequent clicks)",
    "weak, few of each item": "weak, as few edges (most frequent clicks of each item)",
    "strong": "strong (one page led to the other)",
    "full": "full (strong, search and Swing)",
    "swing": "Swing",
    "sign": "SIGN",
    "graphsage": "GraphSAGE",
    "pinsage": "PinSAGE",
    "lightgcn items": "LightGCN, items",
    "lightgcn users": "LightGCN, users",
}
# How pages name two arms that records call by their features.
NAMES = {
    "features alone": "raw features",
    "features": "raw features",
    "trained features": "network without a graph",
}
TITLE_WIDTH = 34  # largest number of characters of a title
# Column, row, text and color of each box; kinds of edges have their colors.
BOXES: dict[str, Box] = {
    "log": (0, 1, "shop log\nviews, clicks,\ncarts, queries", None),
    "strong": (1, 2, "strong actions\nA's page → B", PALETTE[0]),
    "search": (1, 1, "search\nA, B after one query", PALETTE[1]),
    "swing": (1, 0, "Swing\nwithout feed clicks", PALETTE[2]),
    "graph": (2, 1, "item graph A\nmerged, capped,\nrows sum to 1", None),
    "features": (2, 2.35, "features X\ntail: group means", None),
    "layer": (3, 1.65, "normalize([X ‖ AX] W + b)\none hop, no activation", None),
    "loss": (4, 2.2, "training: softmax\nover the batch, log q,\nedge left out", None),
    "index": (4, 0.8, "serving: index of ads\nisolated item →\nits group's vector", None),
}
ARROWS = (
    ("log", "strong"), ("log", "search"), ("log", "swing"),
    ("strong", "graph"), ("search", "graph"), ("swing", "graph"),
    ("graph", "layer"), ("features", "layer"), ("layer", "loss"), ("layer", "index"),
)  # fmt: skip


def scheme() -> Picture:
    """Draw the steps from the log to the index."""
    return diagram(
        BOXES,
        ARROWS,
        "The method from left to right: the shop log gives strong transitions, search co-clicks "
        "and Swing edges, which are merged into one graph of items; features and their means over "
        "neighbors pass one linear layer; the vectors are trained with a softmax over the batch "
        "and served from an index of ads.",
        height=3.4,
        xlim=(-0.45, 4.5),
        ylim=(-0.5, 2.85),
    )


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
        for a, b, kind in network.edges(data="part"):
            if kind == part:
                segment = np.array([places[a], places[b]])
                axes.plot(*segment.T, color=color, lw=0.8, alpha=0.45, zorder=1)
    for marker, category in zip(MARKERS, sorted(set(categories.values())), strict=False):
        points = np.array([places[n] for n, c in categories.items() if c == category])
        axes.plot(*points.T, marker, color=PALETTE[3 + MARKERS.index(marker)], ms=5.5, zorder=2)
    axes.set(xticks=[], yticks=[])
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
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


def arms(summary: pl.DataFrame, reference: str, what: str) -> Picture:
    """Draw HR@10 of each arm with its interval, and HR@10 on head, tail and cold items.

    Args:
        summary: Columns ``arm``, ``hr@10``, ``low``, ``high``, ``head``, ``tail``, ``cold``.
        reference: Arm whose HR@10 is marked by a line.
        what: Subject of the text alternative.
    """
    rows = summary.to_dicts()
    with style():
        figure, (left, right) = plt.subplots(1, 2, figsize=(5, 0.4 * len(rows) + 1.2), sharey=True)
        named = summary.with_columns(pl.col("arm").replace(ARMS))
        dots(left, named, "hr@10", "arm", above=True)
        let_names_run_on(left)
        own = [row["hr@10"] for row in rows if row["arm"] == reference]
        if own:
            line_beside_rows(left, len(rows), own[0], "dotted")
        for color, (part, (marker, label)) in zip(PALETTE[1:], SLICES.items(), strict=False):
            known = [(row[part], n) for n, row in enumerate(rows) if row[part] is not None]
            if known:
                right.plot(*zip(*known, strict=True), marker, color=color, ms=5, label=label)
        left.set(xlabel="HR@10, all items ranked\n(line: 95 %)", xlim=(0, None))
        right.set(xlabel="HR@10 of a slice", xlim=(0, None))
        right.spines["left"].set_visible(False)
        figure.legend(loc="outside upper right", ncols=3)
        for axes in (left, right):
            axes.locator_params(axis="x", nbins=4)
    facts = ", ".join(f"{r['arm']} {r['hr@10']:.3f}" for r in rows)
    return Picture(figure, f"HR@10 of {what}: {facts}.")


def tail_buckets(buckets: pl.DataFrame) -> Picture:
    """Draw HR@10 against the target's clicks in training.

    Args:
        buckets: Columns ``arm``, ``bucket`` (least clicks), ``hr@10``, ``pairs``.
    """
    lower = sorted(buckets["bucket"].unique())
    labels = [f"{a}" if b == a + 1 else f"{a} to {b - 1}" for a, b in pairwise(lower)] + [
        f"{lower[-1]} and more"
    ]
    with style():
        figure, axes = plt.subplots(figsize=(8.5, 4.4))
        names = buckets["arm"].unique(maintain_order=True).to_list()
        for number, name in enumerate(names):
            rows = buckets.filter(arm=name).sort("bucket")
            x = [lower.index(value) for value in rows["bucket"]]
            axes.plot(
                x, rows["hr@10"], marker="osD^v"[number % 5], ms=4.5, lw=1.4,
                ls="-" if number < len(PALETTE) else "--",
                color=PALETTE[number % len(PALETTE)], label=name,
            )  # fmt: skip
        axes.set_xticks(range(len(lower)), labels)
        axes.set(xlabel="clicks on the target in training", ylabel="HR@10", ylim=(0, None))
        axes.legend(fontsize=7.5)
    cold = buckets.filter(bucket=0)
    facts = ", ".join(f"{r['arm']} {r['hr@10']:.2f}" for r in cold.to_dicts())
    return Picture(figure, f"HR@10 by popularity of the target. Targets without a click: {facts}.")


def learning_curves(curves: pl.DataFrame) -> Picture:
    """Draw the training loss with and without the predicted edge left out.

    Args:
        curves: Columns ``encoder``, ``step``, ``loss``.
    """
    labels = {"V0": "edge left out"}
    with style():
        figure, axes = plt.subplots(figsize=(7.5, 3.4))
        for color, name, rows in by_color(curves, "encoder"):
            axes.plot(rows["step"], rows["loss"], color=color, label=labels.get(name, name))
        axes.set(xlabel="step", ylabel="softmax over the batch", ylim=(0, None))
        axes.legend(fontsize=8)
    last = curves.group_by("encoder", maintain_order=True).agg(pl.col("loss").last())
    facts = ", ".join(f"{labels.get(r['encoder'], r['encoder'])} {r['loss']:.2f}"
                      for r in last.to_dicts())  # fmt: skip
    return Picture(figure, f"Training loss of LightSAGE by step. At the end: {facts}.")


def related(gallery: pl.DataFrame) -> Picture:
    """Draw the first related films of each film by each method; a bar is a film's popularity.

    Args:
        gallery: Columns ``by``, ``film``, ``place``, ``related``, ``clicks``.
    """
    films = gallery["film"].unique(maintain_order=True).to_list()
    methods = gallery["by"].unique(maintain_order=True).to_list()
    shown = int(gallery["place"].max() or 1)  # type: ignore[arg-type]
    most = int(gallery["clicks"].max() or 1)  # type: ignore[arg-type]
    with style():
        figure, panels = plt.subplots(
            len(films), len(methods), figsize=(10.5, len(films) * (0.27 * shown + 0.55)),
            squeeze=False,
        )  # fmt: skip
        for row, film in enumerate(films):
            for column, method in enumerate(methods):
                axes = panels[row][column]
                _list(axes, gallery.filter(film=film, by=method), most, PALETTE[column])
                if row == 0:
                    axes.set_title(method, fontweight="bold", pad=20)
            panels[row][0].text(
                0, -0.75, f"next to {film}", fontsize=9.5, style="italic", clip_on=False
            )
    facts = "; ".join(
        f"{film}, {method}: {', '.join(gallery.filter(film=film, by=method)['related'])}"
        for film in films
        for method in methods
    )
    return Picture(figure, f"Related films. {facts}.")


def _list(axes: Axes, rows: pl.DataFrame, most: int, color: str) -> None:
    places = rows["place"].to_numpy() - 1
    axes.barh(places, rows["clicks"] / most, color=color, alpha=0.25, height=0.86)
    for place, title in zip(places, rows["related"], strict=True):
        short = textwrap.shorten(title, TITLE_WIDTH, placeholder="…")
        axes.text(0.01, place, short, va="center", fontsize=8.5)
    axes.set(xlim=(0, 1), ylim=(len(rows) - 0.5, -0.5), xticks=[], yticks=[])
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


def leave_edge_out_gain(losses: Measurements) -> Picture:
    """Draw what removing the predicted edge from the neighborhood changes."""
    panels = {
        "gain in HR@10 from leaving the edge out": {
            "leave_edge_out_hr10_gain": "all pairs",
            "leave_edge_out_head_gain": "pairs without a tail item",
            "leave_edge_out_tail_gain": "pairs with a tail item",
            "leave_edge_out_hr10_gain_at_neighbors": "pairs that are neighbors in the graph",
            "leave_edge_out_hr10_gain_elsewhere": "other pairs",
        }
    }
    return estimates(panels, losses)


def edge_gains(profile: ProfileName, *measured: Measurements) -> Picture:
    """Draw what kinds of edges add, with the bars of their claims at a profile."""
    strong, frequent = (f"{of}_hr10_gain_over_weak_graph" for of in ("strong", "fewer_edges"))
    search, rewired = "search_edges_hr10_gain", "shuffled_within_types_hr10_gain"
    cosine, neither = "swing_hr10_gain_over_cosine", "neither_hr10_gain_over_cosine"
    panels = {
        "gain in the share of items with an edge": {
            "search_coverage_gain": "search edges",
            "swing_coverage_gain": "Swing edges",
            "swing_coverage_gain_of_single_pairs": "Swing edges of a single pair of users",
            "swing_coverage_gain_of_a_longer_log": "Swing edges, three times as many sessions",
        },
        "gain in HR@10 from strong and search edges": {
            strong: "strong edges in place of weak ones",
            frequent: "as many frequent clicks in place of weak edges",
            f"{strong}-{frequent}": "strong edges in place of as many frequent clicks",
            search: "search edges added to strong ones",
            rewired: "rewired search edges added to strong ones",
            f"{search}-{rewired}": "search edges in place of rewired ones",
        },
        "gain in HR@10": {
            "swing_hr10_gain": "Swing added to strong and search edges",
            cosine: "Swing in place of cosine edges",
            neither: "no edges in place of cosine edges",
            f"{cosine}-{neither}": "Swing in place of no edges",
            f"{cosine}_beside_other_edges": "Swing in place of cosine edges, at edges that differ",
            "strong_input_hr10_gain": "Swing without feed clicks in place of as many with them",
            "strong_input_hr10_gain_beside_other_edges": (
                "Swing without feed clicks, at edges that differ"
            ),
            "strong_input_hr10_gain_over_all": (
                "Swing without feed clicks in place of all edges with them"
            ),
        },
        "gain in HR@10 where the feed follows the item": with_control(
            "strong_hr10_gain_in_view", "fewer_edges_hr10_gain_in_view",
            "strong edges", "as many frequent clicks",
        ),
    }  # fmt: skip
    return estimates(panels, *measured, bars=claim_bars("lightsage", profile))


def tail_gains(profile: ProfileName, tail: Measurements) -> Picture:
    """Draw what grouping the tail gains, with its controls and the bars of claims at a profile."""
    grouped, alone, joined = "cold_hr10_gain", "no_graph_cold_hr10_gain", "joined_cold_hr10_gain"
    similar, one = "similar_groups_cold_hr10_gain", "one_group_a_type_cold_hr10_gain"
    panels = {
        "gain in HR@10 on items without a click": {
            grouped: "grouped tail",
            joined: "new items join groups",
            alone: "network without a graph",
            similar: "similar groups over random ones",
            one: "one group a type over random ones",
            f"{grouped}-{alone}": "grouped tail less network without a graph",
            f"{joined}-{alone}": "new items join groups less network without a graph",
            f"{similar}-{one}": "similar groups less one group a type",
            "hidden_neighborhoods_cold_hr10_gain": "hidden neighborhoods in training",
        },
        "gain in HR@10 on targets of the tail from training with groups": with_control(
            "pooled_training_tail_target_gain", "random_pooled_training_tail_target_gain",
            "groups of similar items", "random groups",
        ),
        "loss of HR@10 on popular items": {"head_hr10_loss": "grouped tail"},
    }  # fmt: skip
    return estimates(panels, tail, bars=claim_bars("lightsage", profile))


def gains_on_logs(real: Measurements) -> Picture:
    """Draw Swing beside the network on MovieLens, and what its edges add on sessions."""
    cosine, neither = (f"{of}_hr10_gain_over_cosine_on_sessions" for of in ("swing", "neither"))
    panels = {
        "gain in HR@10 over the network, MovieLens": with_control(
            "swing_hr10_gain_over_network", "popularity_hr10_gain_over_network",
            "Swing", "popularity",
        ),
        "gain in HR@10, click sessions": {
            "swing_hr10_gain_on_sessions": "Swing added to strong edges",
            cosine: "Swing in place of cosine edges",
            neither: "no edges in place of cosine edges",
            f"{cosine}-{neither}": "Swing in place of no edges",
        },
    }  # fmt: skip
    return estimates(panels, real)
