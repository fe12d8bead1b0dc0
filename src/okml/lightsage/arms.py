"""What is trained and compared: graphs by name, and encoders on them."""

from __future__ import annotations

import hashlib
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict

from okml.lightsage.graph import (
    Cleaned,
    GraphSettings,
    ItemGraph,
    Part,
    build_graph,
    random_graph,
    shuffled_queries,
)
from okml.lightsage.network.settings import EncoderSettings
from okml.lightsage.training.batches import NegativeSettings
from okml.lightsage.training.losses import LossSettings

GraphName = Literal[
    "weak", "everything", "strong", "strong + swing", "strong + search", "full",
    "full, swing of all clicks", "full, cosine for swing",
    "full, random edges", "strong + shuffled search",
]  # fmt: skip
GRAPHS: tuple[GraphName, ...] = get_args(GraphName)

_PARTS: dict[GraphName, tuple[Part, ...]] = {
    "weak": ("weak",),
    "everything": ("strong", "search", "swing", "weak"),
    "strong": ("strong",),
    "strong + swing": ("strong", "swing"),
    "strong + search": ("strong", "search"),
    "full": ("strong", "search", "swing"),
    "full, swing of all clicks": ("strong", "search", "swing"),
    "full, cosine for swing": ("strong", "search", "cosine"),
    "full, random edges": ("strong", "search", "swing"),
    "strong + shuffled search": ("strong", "search"),
}


def graph_by_name(
    name: GraphName, log: Cleaned, items: int, settings: GraphSettings, seed: int
) -> ItemGraph:
    """Build a graph of the ablation.

    Args:
        name: Which; the last two are controls.
        log: The training period.
        items: N.
        settings: Rules and caps, the same for all.
        seed: Of what the controls draw.
    """
    merge = settings.merge.model_copy(update={"parts": _PARTS[name]})
    changes: dict[str, object] = {"merge": merge}
    if name == "full, swing of all clicks":
        every = ("pdp_rec", "search", "other", "feed")
        changes["swing"] = settings.swing.model_copy(update={"sources": every})
    if name == "strong + shuffled search":
        log = shuffled_queries(log, seed)
    graph = build_graph(log, items, settings.model_copy(update=changes))
    return random_graph(graph, seed) if name == "full, random edges" else graph


class Arm(BaseModel):
    """One encoder to train: on which graph, made of what, and how it learns."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    graph: GraphName = "full"
    encoder: EncoderSettings = EncoderSettings()
    loss: LossSettings = LossSettings()
    negatives: NegativeSettings = NegativeSettings()
    leave_edge_out: bool = True
    hidden_share: float = 0.0  # of rows that learn without their neighborhood; one hop only
    pooled: Literal["no", "similar", "random"] = "no"  # items of the tail share a node in training
    positives: Literal["edges", "walks"] = "edges"

    def key(self) -> str:
        """Return a name for its folder: arms that train alike share a training."""
        content = self.model_dump_json(exclude={"name"})
        return hashlib.sha256(content.encode()).hexdigest()[:16]
