"""The compared arms: graphs by name, and encoders on them."""

from __future__ import annotations

import hashlib
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from okml.lightsage.graph import (
    Cleaned,
    GraphSettings,
    ItemGraph,
    Part,
    edges_of,
    graph_of,
)
from okml.lightsage.graph.controls import heaviest, shuffled_queries
from okml.lightsage.network.settings import EncoderSettings
from okml.lightsage.training.batches import NegativeSettings
from okml.lightsage.training.losses import LossSettings

GraphName = Literal[
    "weak", "weak, as few edges", "everything", "strong", "strong + swing", "strong + search",
    "strong + shuffled search", "full", "full, swing of all clicks", "full, cosine for swing",
]  # fmt: skip
GRAPHS: tuple[GraphName, ...] = get_args(GraphName)

_PARTS: dict[GraphName, tuple[Part, ...]] = {
    "weak": ("weak",),
    "weak, as few edges": ("weak",),
    "everything": ("strong", "search", "swing", "weak"),
    "strong": ("strong",),
    "strong + swing": ("strong", "swing"),
    "strong + search": ("strong", "search"),
    "strong + shuffled search": ("strong", "search"),
    "full": ("strong", "search", "swing"),
    "full, swing of all clicks": ("strong", "search", "swing"),
    "full, cosine for swing": ("strong", "search", "cosine"),
}
# Kinds cut to their heaviest edges, to the number of edges of another kind.
_AS_MANY: dict[GraphName, tuple[Part, Part]] = {
    "weak, as few edges": ("weak", "strong"),
    "full, swing of all clicks": ("swing", "swing"),
    "full, cosine for swing": ("cosine", "swing"),
}


def graph_by_name(
    name: GraphName,
    log: Cleaned,
    items: int,
    settings: GraphSettings,
    seed: int,
    key: NDArray[np.integer],
) -> ItemGraph:
    """Build a graph of the ablation by its name.

    Args:
        name: Name of the graph.
        log: Cleaned log of the training period.
        items: Number of items N.
        settings: Rules and caps, the same for all graphs.
        seed: Random seed of the controls.
        key: Key of each item, ``[N]``; shuffled searches stay among items of one key.
    """
    changed = settings
    if name == "full, swing of all clicks":
        every = ("pdp_rec", "search", "other", "feed")
        swing = settings.swing.model_copy(update={"sources": every})
        changed = settings.model_copy(update={"swing": swing})
    if name == "strong + shuffled search":
        log = shuffled_queries(log, seed, key)
    edges = {part: edges_of(part, log, changed) for part in _PARTS[name]}
    if name in _AS_MANY:
        part, like = _AS_MANY[name]
        edges[part] = heaviest(edges[part], edges_of(like, log, settings).height, seed)
    return graph_of(edges, items, settings.merge.model_copy(update={"parts": _PARTS[name]}))


class Arm(BaseModel):
    """The configuration of one encoder: graph, architecture, loss and sampling."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    graph: GraphName = "full"
    encoder: EncoderSettings = EncoderSettings()
    loss: LossSettings = LossSettings()
    negatives: NegativeSettings = NegativeSettings()
    leave_edge_out: bool = True
    hidden_share: float = 0.0  # of rows trained without their neighborhood; one hop only
    pooled: Literal["no", "similar", "random"] = "no"  # whether tail items share a node in training
    positives: Literal["edges", "walks"] = "edges"

    def key(self) -> str:
        """Return the name of its folder; arms that differ only in name share a training."""
        content = self.model_dump_json(exclude={"name"})
        return hashlib.sha256(content.encode()).hexdigest()[:16]
