"""Floating-point operations by what they are spent on; two a multiply-add."""

from __future__ import annotations

from dataclasses import dataclass

from okml.strec.schedule import Schedule


@dataclass(frozen=True)
class Costs:
    """Operations of one sequence.

    Attributes:
        projection: Queries, keys, values and output.
        attention: The products ``Q Kᵀ`` and ``A V``: the only part that is quadratic.
        feed_forward: The two matrices of the feed-forward network.
        scoring: The read-out against every item.
    """

    projection: int
    attention: int
    feed_forward: int
    scoring: int = 0

    @property
    def encoder(self) -> int:
        """Everything but the scoring."""
        return self.projection + self.attention + self.feed_forward

    @property
    def total(self) -> int:
        """Everything."""
        return self.encoder + self.scoring


def layer_costs(keys: int, queries: int, width: int, hidden: int) -> Costs:
    """Return the operations of a layer that reads ``keys`` tokens and writes ``queries``."""
    return Costs(
        projection=4 * (keys + queries) * width**2,
        attention=4 * keys * queries * width,
        feed_forward=4 * queries * width * hidden,
    )


def encoder_costs(
    schedule: Schedule, length: int, width: int, hidden: int, items: int = 0
) -> Costs:
    """Return the operations of one sequence through all layers and against ``items`` items."""
    layers = [
        layer_costs(keys, queries, width, hidden)
        for keys, queries in zip((length, *schedule), schedule, strict=False)
    ]
    return Costs(
        projection=sum(layer.projection for layer in layers),
        attention=sum(layer.attention for layer in layers),
        feed_forward=sum(layer.feed_forward for layer in layers),
        scoring=2 * items * width,
    )
