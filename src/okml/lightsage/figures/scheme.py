"""The diagram of the method, as the chapter reads it."""

from __future__ import annotations

import matplotlib.pyplot as plt

from okml.plotting import PALETTE, Box, Picture, diagram, style

# Column, row, text and color of each box; kinds of edges have their colors.
BOXES: dict[str, Box] = {
    "log": (0, 1, "shop log\nviews, clicks,\ncarts, queries", None),
    "strong": (1, 2, "strong actions\nA's page → B", PALETTE[0]),
    "search": (1, 1, "search\nA, B after one query", PALETTE[1]),
    "swing": (1, 0, "Swing\nover strong actions", PALETTE[2]),
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
    with style():
        figure, axes = plt.subplots(figsize=(10.5, 3.4))
        axes.set(xlim=(-0.45, 4.5), ylim=(-0.5, 2.85))
        diagram(axes, BOXES, ARROWS)
    return Picture(
        figure,
        "The method from left to right: the shop log gives strong transitions, search co-clicks "
        "and Swing edges, which are merged into one graph of items; features and their means over "
        "neighbors pass one linear layer; the vectors are trained with a softmax over the batch "
        "and served from an index of ads.",
    )
