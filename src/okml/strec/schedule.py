"""Schedules: the number of items that each layer keeps, and what that costs by arithmetic.

Operations are of floating-point numbers, two for a multiply-add.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from okml.errors import ParameterError
from okml.settings import Count

Schedule = tuple[Count, ...]

# The two schedules of the authors' code, for windows of 50 items (MovieLens-20M) and of 8 (Gowalla
# and Amazon Electronics). In both the first layer keeps every item.
RELEASED: dict[int, Schedule] = {
    50: (50, 20, 20, 5, 5, 5, 5, 1),
    8: (8, 3, 3, 3, 3, 3, 3, 1),
}


def full_schedule(length: int, layers: int) -> Schedule:
    """Return the schedule that keeps all items but in the last layer, which keeps one."""
    return (*(length,) * (layers - 1), 1)


def scaled(schedule: Schedule, length: int, to_length: int) -> Schedule:
    """Return ``schedule`` scaled to another length; the last layer still keeps one item."""
    return (*(max(1, round(k * to_length / length)) for k in schedule[:-1]), 1)


def check_schedule(schedule: Sequence[int], length: int, layers: int) -> None:
    """Check a schedule against the sizes of its encoder.

    Raises:
        ParameterError: If it has another number of layers, exceeds the length, grows, or does not
            end with one item.
    """
    shown = "-".join(str(k) for k in schedule)
    if len(schedule) != layers:
        raise ParameterError(f"Schedule {shown} has {len(schedule)} entries for {layers} layers.")
    if any(after > before for before, after in zip((length, *schedule), schedule, strict=False)):
        raise ParameterError(
            f"Schedule {shown} grows, or exceeds the window of {length} items.",
            "A dropped item is gone for good: sample sizes can only fall.",
        )
    if schedule[-1] != 1:
        raise ParameterError(f"Schedule {shown} must end with 1, the item that is read out.")


@dataclass(frozen=True)
class Savings:
    """The sparsity and relative size of a schedule, against a backbone with all queries.

    Attributes:
        sparsity: One minus the mean share of items kept, over all layers but the last: the
            reading of the paper's axis by which its released schedule has 69 %.
        tokens: The share of computed tokens.
        pairs: The share of (query, key) pairs.
    """

    sparsity: float
    tokens: float
    pairs: float


def savings(schedule: Schedule, length: int) -> Savings:
    """Return the savings of ``schedule`` on windows of ``length`` items."""
    layers = len(schedule)
    kept = schedule[:-1] or schedule
    pairs = sum(
        keys * queries for keys, queries in zip((length, *schedule), schedule, strict=False)
    )
    return Savings(
        sparsity=1 - sum(kept) / len(kept) / length,
        tokens=sum(schedule) / (layers * length),
        pairs=pairs / (layers * length**2),
    )


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
