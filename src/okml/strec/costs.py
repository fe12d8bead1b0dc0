"""Floating-point operations of the parts of an encoder; two for a multiply-add."""

from __future__ import annotations

from dataclasses import dataclass

from okml.strec.schedule import Schedule


@dataclass(frozen=True)
class Costs:
    """Floating-point operations for one sequence.

    Attributes:
        projection: Operations of the projections to queries, keys, values and output.
        attention: Operations of ``Q Kᵀ`` and ``A V``, the only part quadratic in the length.
        feed_forward: Operations of the two matrices of the feed-forward network.
        scoring: Operations of the scores of all items.
    """

    projection: int
    attention: int
    feed_forward: int
    scoring: int = 0

    @property
    def encoder(self) -> int:
        """The operations of all parts but the scoring."""
        return self.projection + self.attention + self.feed_forward


def layer_costs(keys: int, queries: int, width: int, hidden: int) -> Costs:
    """Return the operations of a layer that reads ``keys`` tokens and computes ``queries``."""
    return Costs(
        projection=4 * (keys + queries) * width**2,
        attention=4 * keys * queries * width,
        feed_forward=4 * queries * width * hidden,
    )


def encoder_costs(
    schedule: Schedule, length: int, width: int, hidden: int, items: int = 0
) -> Costs:
    """Return the operations of all layers for one sequence, and of the scores of ``items``."""
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
