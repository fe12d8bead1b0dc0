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


def encoder_costs(
    schedule: Schedule, length: int, width: int, hidden: int, items: int = 0
) -> Costs:
    """Return the operations of all layers for one sequence, and of the scores of ``items``.

    A layer reads the tokens that the layer before wrote, and computes as many queries as it writes.
    """
    layers = list(zip((length, *schedule), schedule, strict=False))  # keys, queries
    return Costs(
        projection=sum(4 * (keys + queries) * width**2 for keys, queries in layers),
        attention=sum(4 * keys * queries * width for keys, queries in layers),
        feed_forward=sum(4 * queries * width * hidden for _, queries in layers),
        scoring=2 * items * width,
    )
