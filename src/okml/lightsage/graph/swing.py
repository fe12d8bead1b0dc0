r"""Swing (Yang et al., 2020, arXiv 2010.05525): similarity by pairs of users with little overlap.

With U_i the users of item i and I_u the items of user u,

.. math::

    s(i, j) = \sum_{u < v \in U_i \cap U_j} \frac{w_u w_v}{\alpha + |I_u \cap I_v|},
    \qquad w_u = (a + |I_u|)^{-b}

Pairs of users are unordered and distinct. The scores of item i depend on the users in U_i only:
with b_j the indicator of the users of U_i who have j, the overlaps are
O = Σ_j b_j b_jᵀ and the scores s(i, j) = Σ_{u<v} (b_j b_jᵀ ∘ S)_{uv} with S = w wᵀ / (α + O). Both
sums run over pairs of users who share an item, without intersections of item lists.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import polars as pl
from numpy.typing import NDArray

from okml.errors import ParameterError, ResourceError
from okml.lightsage.graph.edges import EDGE_SCHEMA, STEPS, in_order
from okml.lightsage.graph.events import PAGES
from okml.lightsage.graph.settings import SwingSettings
from okml.runtime import usable_cores

SWING_SCHEMA = pl.Schema({**EDGE_SCHEMA, "pairs": pl.Int64()})
MOST_OVERLAPS = 2**29  # entries of the overlap matrices, users² per item, over all threads
BLOCK_ROWS = 2**22  # largest number of rows that the kernel returns at once
BLOCK_ITEMS = 2**14
PAIR_COLUMNS = ("user", "item")
PRIME = 2**31 - 1
USER_FACTOR, ITEM_FACTOR, SHIFT = 1_103_515_245, 1_664_525_573, 1_013_904_223


def user_items(log: pl.DataFrame, settings: SwingSettings | None = None) -> pl.DataFrame:
    """Return the distinct pairs of ``user`` (Int64) and ``item`` (Int32), sorted.

    A user is what ``settings.over`` says: a person, or one of a person's sessions.
    Page views count if their source is in ``settings.sources``; carts and purchases always do.
    """
    settings = settings or SwingSettings()
    strong = pl.col("source").is_in(settings.sources) | ~pl.col("action").is_in(PAGES)
    pairs = log.filter(strong).select("item", user=settings.over).select(PAIR_COLUMNS)
    return pairs.unique().sort(PAIR_COLUMNS)


def place(user: Any, item: Any) -> Any:
    """Return the hash by which the users of an item are ordered before the cap on their number.

    Without the cap, one item of 10^6 users has 5·10^11 pairs. A hash of user and item favors no
    user at all items. Its 64-bit products cannot overflow, because all factors are below the prime
    2^31 - 1.

    Args:
        user: User numbers: a polars expression, an array, or an int of 64 bits.
        item: Item numbers of the same type.
    """
    mixed = (user % PRIME * USER_FACTOR + item % PRIME * ITEM_FACTOR) % PRIME
    # Without the square, the orders of all items would differ by a rotation only.
    return mixed * ((mixed + SHIFT) % PRIME) % PRIME


@dataclass(frozen=True, eq=False)
class Incidence:
    """The incidence of users and items, numbered without gaps, in both directions.

    Attributes:
        items: Number of each item in the log, int32 ``[items]``.
        weights: Weight w_u of each user, ``[users]``.
        item_starts: Offsets of items: item i has the capped users
            ``item_users[item_starts[i]:item_starts[i + 1]]``.
        item_users: Users of all items, concatenated, int32.
        user_starts: Offsets of users: user u has the items
            ``user_items[user_starts[u]:user_starts[u + 1]]``.
        user_items: Items of all users, concatenated, int32.
    """

    items: NDArray[np.int32]
    weights: NDArray[np.float64]
    item_starts: NDArray[np.int64]
    item_users: NDArray[np.int32]
    user_starts: NDArray[np.int64]
    user_items: NDArray[np.int32]

    @property
    def pairs(self) -> int:
        """Number of user pairs in the formula, P = Σ_i C(n_i, 2)."""
        users = np.diff(self.item_starts)
        return int((users * (users - 1) // 2).sum())


def incidence(pairs: pl.DataFrame, settings: SwingSettings) -> Incidence:
    """Filter users, number users and items, and cap the users of each item.

    Raises:
        ParameterError: If a pair of user and item occurs twice.
    """
    ordered = pairs.select(pl.col("user").cast(pl.Int64), pl.col("item").cast(pl.Int32)).sort(
        "user", "item"
    )
    if ordered.height > 1 and ordered.select(
        ((pl.col("user") == pl.col("user").shift()) & (pl.col("item") == pl.col("item").shift()))
        .any()
    ).item():  # fmt: skip
        raise ParameterError("A pair of user and item occurs twice.", "user_items() makes pairs.")
    n = pl.len().over("user")
    kept = ordered.filter(n.is_between(settings.least_user_items, settings.most_user_items))
    numbered = kept.with_columns(
        u=pl.col("user").rle_id().cast(pl.Int32),
        i=(pl.col("item").rank("dense") - 1).cast(pl.Int32),
    )
    user_lengths = np.bincount(numbered["u"].to_numpy())
    full = pl.len().over("i") > settings.most_item_users
    over, under = numbered.filter(full), numbered.filter(~full)
    first = (
        over.with_columns(place=place(pl.col("user"), pl.col("item").cast(pl.Int64)))
        .sort("i", "place", "user")
        .group_by("i", maintain_order=True)
        .head(settings.most_item_users)
    )
    columns = ("i", "u")
    capped = pl.concat([under.select(columns), first.select(columns)]).sort(columns)
    items = numbered["item"].unique().sort().to_numpy()
    return Incidence(
        items=items,
        weights=(settings.user_offset + user_lengths.astype(np.float64)) ** -settings.user_power,
        item_starts=_starts(np.bincount(capped["i"].to_numpy(), minlength=len(items))),
        item_users=capped["u"].to_numpy(),
        user_starts=_starts(user_lengths),
        user_items=numbered["i"].to_numpy(),
    )


def _starts(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def swing(
    pairs: pl.DataFrame, settings: SwingSettings | None = None, threads: int | None = None
) -> pl.DataFrame:
    """Score items by Swing with a compiled kernel, items in parallel.

    An item keeps the ``most_neighbors`` best neighbors with at least ``least_pairs`` pairs of users
    and ``least_score``. Memory: 12 bytes per item and 4·n² bytes per thread, with n the largest
    number of users of an item.

    Args:
        pairs: Distinct pairs of ``user`` (Int64) and ``item`` (Int32); see ``user_items``.
        settings: Parameters of the formula and caps. ``SwingSettings().unbounded()`` is the plain
            formula.
        threads: Number of threads; None: all usable cores.

    Returns:
        An edge frame with the column ``pairs`` (Int64), the number of user pairs of a score.

    Raises:
        ParameterError: If a pair of user and item occurs twice.
        ResourceError: If the overlap matrix of an item does not fit into memory.
    """
    settings = settings or SwingSettings()
    threads = threads or usable_cores()
    if pairs.is_empty():
        return SWING_SCHEMA.to_frame()
    incident = incidence(pairs, settings)
    users = np.diff(incident.item_starts)
    widest = int(users.max(initial=0))
    if widest**2 * threads > MOST_OVERLAPS:
        raise ResourceError(
            f"An item has {widest:,} users, whose pairs do not fit into memory.",
            "Lower most_item_users.",
        )
    # Expensive items first and in turn, for equal work per thread.
    worth = np.flatnonzero(users >= 2)
    order = worth[np.argsort(-users[worth], kind="stable")]
    most = min(settings.most_neighbors, len(users))
    block = max(1, min(BLOCK_ITEMS, BLOCK_ROWS // max(1, most)))  # no item may be left
    chunks = [order[start : start + block] for start in range(0, len(order), block)]
    shares = [chunk[turn::threads] for chunk in chunks for turn in range(threads)]

    def score(share: NDArray[np.int64]) -> pl.DataFrame:
        rows = score_items(
            share,
            incident.item_starts,
            incident.item_users,
            incident.user_starts,
            incident.user_items,
            incident.weights,
            settings.alpha,
            settings.least_pairs,
            settings.least_score,
            most,
        )
        return _frame(share, incident.items, rows)

    with ThreadPoolExecutor(threads) as pool:
        found = list(pool.map(score, [share for share in shares if len(share)]))
    if not found:
        return SWING_SCHEMA.to_frame()
    return in_order(pl.concat(found))


def _frame(
    share: NDArray[np.int64], items: NDArray[np.int32], rows: tuple[NDArray[Any], ...]
) -> pl.DataFrame:
    counts, neighbors, steps, pairs = rows
    taken = np.arange(neighbors.shape[1]) < counts[:, None]
    return pl.DataFrame(
        {
            "item": np.repeat(items[share], counts),
            "neighbor": items[neighbors[taken]],
            "weight": steps[taken] / STEPS,
            "pairs": pairs[taken],
        },
        schema=SWING_SCHEMA,
    )


@numba.njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def score_items(
    share: Any,
    item_starts: Any,
    item_users: Any,
    user_starts: Any,
    user_items: Any,
    weights: Any,
    alpha: float,
    least_pairs: int,
    least_score: float,
    most: int,
) -> Any:
    """Score the neighbors of some items; the arrays are those of :class:`Incidence`.

    Args:
        share: Items to score, ``[s]``.
        item_starts: Offsets of items.
        item_users: Users of all items.
        user_starts: Offsets of users.
        user_items: Items of all users.
        weights: Weight w_u of each user.
        alpha: Smoothing constant α of the formula.
        least_pairs: Least number of user pairs of a neighbor.
        least_score: Least score of a neighbor.
        most: Largest number of neighbors of an item.

    Returns:
        The number of neighbors of each item, ``[s]``; the neighbors, their scores in multiples of
        2^-32, and their numbers of user pairs, ``[s, most]``.
    """
    items = len(item_starts) - 1
    counts = np.zeros(len(share), np.int64)
    neighbors = np.empty((len(share), most), np.int32)
    steps = np.empty((len(share), most), np.int64)
    supports = np.empty((len(share), most), np.int64)

    widest = 0
    for i in share:
        widest = max(widest, item_starts[i + 1] - item_starts[i])
    overlap = np.empty((widest, widest), np.int32)
    held = np.zeros(items, np.int32)  # users of the current item that have j; 0 between items
    slot = np.empty(items, np.int64)  # position at which the next user of j is written
    touched = np.empty(items, np.int32)

    for row in range(len(share)):
        i = share[row]
        users = item_users[item_starts[i] : item_starts[i + 1]]
        n = len(users)

        # b_j for every item j of these users: positions among the n users of those who have j.
        seen = 0
        total = 0
        for u in users:
            for entry in range(user_starts[u], user_starts[u + 1]):
                j = user_items[entry]
                if held[j] == 0:
                    touched[seen] = j
                    seen += 1
                held[j] += 1
                total += 1
        holders = np.empty(total, np.int32)
        start = 0
        for place_ in range(seen):
            j = touched[place_]
            slot[j] = start
            start += held[j]
        for a in range(n):
            u = users[a]
            for entry in range(user_starts[u], user_starts[u + 1]):
                j = user_items[entry]
                holders[slot[j]] = a
                slot[j] += 1  # when the loop ends, it is one past the users of j

        # O = |I_u ∩ I_v|: item i is common to all pairs, and item j to the pairs of its users.
        for a in range(n):
            for b in range(a + 1, n):
                overlap[a, b] = 1
        for place_ in range(seen):
            j = touched[place_]
            if j == i or held[j] < 2:
                continue
            for x in range(slot[j] - held[j], slot[j]):
                a = holders[x]
                for y in range(x + 1, slot[j]):
                    overlap[a, holders[y]] += 1

        # s(i, j), for neighbors with enough pairs of users.
        kept = 0
        candidates = np.empty(seen, np.int32)
        for place_ in range(seen):
            j = touched[place_]
            m = held[j]
            if j != i and m >= 2 and m * (m - 1) // 2 >= least_pairs:
                candidates[kept] = j
                kept += 1
        candidates = np.sort(candidates[:kept])
        found = np.empty(kept, np.int64)
        good = 0
        for place_ in range(kept):
            j = candidates[place_]
            score = 0.0
            for x in range(slot[j] - held[j], slot[j]):
                a = holders[x]
                inner = 0.0
                for y in range(x + 1, slot[j]):
                    b = holders[y]
                    inner += weights[users[b]] / (alpha + overlap[a, b])
                score += weights[users[a]] * inner
            rounded = np.int64(np.floor(score * STEPS + 0.5))
            if rounded / STEPS >= least_score:
                candidates[good] = j
                found[good] = rounded
                good += 1

        # Candidates are sorted by number, so a stable sort breaks ties by number.
        best = np.argsort(-found[:good], kind="mergesort")[:most]
        counts[row] = len(best)
        for rank in range(len(best)):
            j = candidates[best[rank]]
            neighbors[row, rank] = j
            steps[row, rank] = found[best[rank]]
            supports[row, rank] = np.int64(held[j]) * (held[j] - 1) // 2
        for place_ in range(seen):
            held[touched[place_]] = 0
    return counts, neighbors, steps, supports
