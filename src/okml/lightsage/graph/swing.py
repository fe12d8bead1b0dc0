r"""Swing (Yang et al., 2020, arXiv 2010.05525): users who agree on little else vouch for a pair.

With U_i the users of item i and I_u the items of user u,

.. math::

    s(i, j) = \sum_{u < v \in U_i \cap U_j} \frac{w_u w_v}{\alpha + |I_u \cap I_v|},
    \qquad w_u = (a + |I_u|)^{-b}

Pairs of users are unordered, and a user makes no pair with himself. For item i only the users in
U_i matter, so its work is local: with b_j the users of U_i who have j, the overlaps are
O = Σ_j b_j b_jᵀ and the scores s(i, j) = Σ_{u<v} (b_j b_jᵀ ∘ S)_{uv} with S = w wᵀ / (α + O). Both
sums run over pairs of users who share an item; no list of items is ever walked in search of one.
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
from okml.lightsage.graph.capping import place
from okml.lightsage.graph.edges import EDGE_SCHEMA, STEPS, in_order
from okml.lightsage.graph.settings import SwingSettings
from okml.runtime import usable_cores

SWING_SCHEMA = pl.Schema({**EDGE_SCHEMA, "pairs": pl.Int64()})
MOST_OVERLAPS = 2**29  # numbers in one item's table of overlaps, users², over all threads
BLOCK_ROWS = 2**22  # rows that the kernel may return at once
BLOCK_ITEMS = 2**14


@dataclass(frozen=True, eq=False)
class Incidence:
    """Users and items numbered without gaps, both ways.

    Attributes:
        items: Number of each item in the log, ``[items]``.
        weights: w_u, ``[users]``.
        item_starts: Item i has the users ``item_users[item_starts[i]:item_starts[i + 1]]``, capped.
        item_users: int32.
        user_starts: User u has the items ``user_items[user_starts[u]:user_starts[u + 1]]``, all.
        user_items: int32.
    """

    items: NDArray[np.int32]
    weights: NDArray[np.float64]
    item_starts: NDArray[np.int64]
    item_users: NDArray[np.int32]
    user_starts: NDArray[np.int64]
    user_items: NDArray[np.int32]

    @property
    def pairs(self) -> int:
        """Pairs of users that the formula sums over, P = Σ_i C(n_i, 2)."""
        users = np.diff(self.item_starts)
        return int((users * (users - 1) // 2).sum())


def incidence(pairs: pl.DataFrame, settings: SwingSettings) -> Incidence:
    """Filter users, number what is left and cap the users of each item.

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

    An item keeps the ``most_neighbors`` best of those with enough pairs of users and a high enough
    score. Memory: 12 bytes an item and 4·n² bytes a thread, n the most users of an item.

    Args:
        pairs: ``user`` (Int64), ``item`` (Int32), distinct; see ``user_items``.
        settings: Formula and caps. ``SwingSettings().unbounded()`` is the formula alone.
        threads: Cores; None: all that may be used.

    Returns:
        An edge frame with the column ``pairs`` (Int64), how many pairs of users are behind a score.

    Raises:
        ParameterError: If a pair of user and item occurs twice.
        ResourceError: If the users of one item make more pairs than memory can hold.
    """
    settings = settings or SwingSettings()
    threads = threads or usable_cores()
    if pairs.is_empty():
        return SWING_SCHEMA.to_frame()
    return swing_edges(incidence(pairs, settings), settings, threads)


def swing_edges(incident: Incidence, settings: SwingSettings, threads: int) -> pl.DataFrame:
    """Score items whose users are numbered and capped; ``swing`` without its preparation."""
    users = np.diff(incident.item_starts)
    if not len(users):
        return SWING_SCHEMA.to_frame()
    widest = int(users.max())
    if widest**2 * threads > MOST_OVERLAPS:
        raise ResourceError(
            f"An item has {widest:,} users, whose pairs do not fit into memory.",
            "Lower most_item_users.",
        )
    # The most expensive items first and dealt out in turn, so that threads finish together.
    worth = np.flatnonzero(users >= 2)
    order = worth[np.argsort(-users[worth], kind="stable")]
    most = min(settings.most_neighbors, len(users))
    block = max(1, min(BLOCK_ITEMS, BLOCK_ROWS // most))
    chunks = [order[start : start + block] for start in range(0, len(order), block)]
    shares = [chunk[turn::threads] for chunk in chunks for turn in range(threads)]

    def score(share: NDArray[np.int64]) -> pl.DataFrame:
        rows = _score(
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
def _score(
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
    """Score the neighbors of some items.

    Args:
        share: The items, ``[s]``.
        item_starts: As in ``Incidence``; so are the next four.
        item_users: See there.
        user_starts: See there.
        user_items: See there.
        weights: See there.
        alpha: α.
        least_pairs: Pairs of users that a neighbor needs.
        least_score: Score that a neighbor needs.
        most: Neighbors that an item keeps.

    Returns:
        How many neighbors each item keeps ``[s]``; they, their scores in steps of 2^-32, and their
        pairs of users, ``[s, most]``.
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
    slot = np.empty(items, np.int64)  # where the users of j go
    touched = np.empty(items, np.int32)

    for row in range(len(share)):
        i = share[row]
        users = item_users[item_starts[i] : item_starts[i + 1]]
        n = len(users)

        # b_j for every item j of these users: who of the n has it, by position.
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
                slot[j] += 1  # in the end one past the users of j

        # O = |I_u ∩ I_v|: item i itself is common to all, every other adds to those who have it.
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

        # Candidates stand by number, so a stable sort breaks ties by it.
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
