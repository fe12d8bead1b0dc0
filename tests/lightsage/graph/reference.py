"""The definitions of the graph once more, in plain Python, as slow and as literal as can be."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from itertools import combinations, pairwise, permutations
from typing import Any

import polars as pl

from okml.lightsage.graph.settings import (
    GraphSettings,
    MergeSettings,
    SearchSettings,
    StrongSettings,
    SwingSettings,
)

Row = dict[str, Any]
Edges = dict[tuple[int, int], float]
PAGES = ("view", "click")
DAY, MINUTE = 86_400_000, 60_000


def sessions(log: pl.DataFrame) -> list[list[Row]]:
    visits = defaultdict(list)
    for row in log.iter_rows(named=True):
        visits[row["session"]].append(row)
    return [sorted(rows, key=lambda row: row["position"]) for rows in visits.values()]


def strong(log: pl.DataFrame, s: StrongSettings) -> Edges:
    best: dict[tuple[int, int, int, int], float] = defaultdict(float)

    def see(b: Row, item: int, neighbor: int, weight: float) -> None:
        if item != neighbor:
            key = (b["user"], item, neighbor, b["ts"] // DAY)
            best[key] = max(best[key], weight)

    for visit in sessions(log):
        # A query begins where an episode is first seen in the visit.
        begins = [
            row["episode"] >= 0 and row["episode"] not in {r["episode"] for r in visit[:place]}
            for place, row in enumerate(visit)
        ]
        pages = [place for place, row in enumerate(visit) if row["action"] in PAGES]
        for place, b in enumerate(visit):
            page = b["action"] in PAGES
            on_page = page and b["source"] == "pdp_rec" and b["from_item"] >= 0
            if "page_click" in s.rules and on_page:
                see(b, b["from_item"], b["item"], 1)
            for earlier in range(place):
                a = visit[earlier]
                query_between = any(begins[earlier + 1 : place + 1])
                if a["action"] not in PAGES or query_between:
                    continue
                minutes = (b["ts"] - a["ts"]) / MINUTE
                if (
                    "cart_after_page" in s.rules
                    and b["action"] == "cart"
                    and place - earlier <= s.cart_steps
                    and minutes <= s.cart_minutes
                ):
                    see(b, a["item"], b["item"], 2)
                last_page = page and not any(earlier < p < place for p in pages)
                if (
                    "next_page" in s.rules
                    and last_page
                    and b["source"] == "other"
                    and minutes <= s.page_minutes
                ):
                    see(b, a["item"], b["item"], 1)
    edges: Edges = defaultdict(float)
    for (_, item, neighbor, _), weight in best.items():
        edges[item, neighbor] += weight
    return edges


def weak(log: pl.DataFrame) -> Edges:
    seen = set()
    for visit in sessions(log):
        pages = [row for row in visit if row["action"] in PAGES]
        for a, b in pairwise(pages):
            if a["item"] != b["item"]:
                seen.add((b["user"], a["item"], b["item"], b["ts"] // DAY))
    edges: Edges = defaultdict(float)
    for _, item, neighbor, _ in seen:
        edges[item, neighbor] += 1
    return edges


def search(log: pl.DataFrame, s: SearchSettings) -> Edges:
    opened: dict[int, set[int]] = defaultdict(set)
    for row in log.iter_rows(named=True):
        if row["action"] in PAGES and row["source"] == "search" and row["episode"] >= 0:
            opened[row["episode"]].add(row["item"])
    edges: Edges = defaultdict(float)
    for of in opened.values():
        if 2 <= len(of) <= s.most_items:
            for item, neighbor in permutations(of, 2):
                edges[item, neighbor] += 1 / (len(of) - 1)
    return edges


def hash_place(user: int, item: int) -> int:
    prime = 2**31 - 1
    mixed = (user * 1_103_515_245 + item * 1_664_525_573) % prime
    return mixed * ((mixed + 1_013_904_223) % prime) % prime


def strong_items(log: pl.DataFrame, s: SwingSettings) -> dict[int, set[int]]:
    items = defaultdict(set)
    for row in log.iter_rows(named=True):
        if row["source"] in s.sources or row["action"] not in PAGES:
            items[row["user"]].add(row["item"])
    return items


def of_pairs(pairs: pl.DataFrame) -> dict[int, set[int]]:
    items = defaultdict(set)
    for user, item in pairs.iter_rows():
        items[user].add(item)
    return items


def kept_users(items: Mapping[int, set[int]], s: SwingSettings) -> dict[int, set[int]]:
    low, high = s.least_user_items, s.most_user_items
    return {user: of for user, of in items.items() if low <= len(of) <= high}


def swing(items: Mapping[int, set[int]], s: SwingSettings) -> dict[tuple[int, int], float]:
    kept = kept_users(items, s)
    users = defaultdict(list)
    for user, of in kept.items():
        for item in of:
            users[item].append(user)
    edges: Edges = {}
    for i in users:
        near = sorted(users[i], key=lambda user: (hash_place(user, i), user))[: s.most_item_users]
        scores: dict[int, float] = defaultdict(float)
        pairs: dict[int, int] = defaultdict(int)
        for u, v in combinations(near, 2):
            w = [(s.user_offset + len(kept[user])) ** -s.user_power for user in (u, v)]
            for j in (kept[u] & kept[v]) - {i}:
                scores[j] += w[0] * w[1] / (s.alpha + len(kept[u] & kept[v]))
                pairs[j] += 1
        edges |= {
            (i, j): score
            for j, score in scores.items()
            if pairs[j] >= s.least_pairs and to_step(score) >= s.least_score
        }
    return strongest(edges, s.most_neighbors)


def cosine(items: Mapping[int, set[int]], s: SwingSettings) -> Edges:
    users = defaultdict(set)
    for user, of in kept_users(items, s).items():
        for item in of:
            users[item].add(user)
    edges = {}
    for i in users:
        for j in users:
            common = len(users[i] & users[j])
            if i != j and common * (common - 1) // 2 >= s.least_pairs:
                edges[i, j] = common / math.sqrt(len(users[i]) * len(users[j]))
    return strongest(edges, s.most_neighbors)


def to_step(weight: float) -> float:
    return math.floor(weight * 2**32 + 0.5) / 2**32


def by_item(edges: Iterable[tuple[int, int]]) -> dict[int, list[int]]:
    neighbors = defaultdict(list)
    for item, neighbor in edges:
        neighbors[item].append(neighbor)
    return neighbors


def strongest(edges: Mapping[tuple[int, int], float], most: int) -> Edges:
    kept = {}
    for item, neighbors in by_item(edges).items():
        neighbors.sort(key=lambda j: (-to_step(edges[item, j]), j))
        kept |= {(item, j): to_step(edges[item, j]) for j in neighbors[:most]}
    return kept


def symmetric(edges: Mapping[tuple[int, int], float]) -> Edges:
    both = dict(edges)
    for (i, j), weight in edges.items():
        both[j, i] = max(weight, edges.get((j, i), 0.0))
    return both


def merge(parts: Mapping[str, Mapping[tuple[int, int], float]], s: MergeSettings) -> Edges:
    best: dict[tuple[int, int], tuple[int, float]] = {}
    for place, part in enumerate(s.parts):
        kept = strongest(parts[part], s.most_neighbors)
        for item, neighbors in by_item(kept).items():
            total = (max if s.how == "fill_up" else sum)(kept[item, j] for j in neighbors)
            for j in neighbors:
                weight = to_step(kept[item, j] / total * s.coefficients[part])
                if (item, j) not in best:
                    best[item, j] = (place, weight)
                elif s.how == "union":
                    first, before = best[item, j]
                    best[item, j] = (first, before + weight)
    merged = {}
    for item, neighbors in by_item(best).items():

        def key(j: int, item: int = item) -> tuple[int, float, int]:
            place, weight = best[item, j]
            return (place if s.how == "fill_up" else 0, -to_step(weight), j)

        for j in sorted(neighbors, key=key)[: s.most_neighbors]:
            merged[item, j] = to_step(best[item, j][1])
    return merged


def edges_of(part: str, log: pl.DataFrame, s: GraphSettings) -> Edges:
    makers: dict[str, Callable[[], Edges]] = {
        "strong": lambda: strong(log, s.strong),
        "weak": lambda: weak(log),
        "search": lambda: search(log, s.search),
        "swing": lambda: swing(strong_items(log, s.swing), s.swing),
        "cosine": lambda: cosine(strong_items(log, s.swing), s.swing),
    }
    return makers[part]()


def frame(edges: Mapping[tuple[int, int], float]) -> pl.DataFrame:
    """Return an edge frame in the order that all engines use."""
    rows = [(i, j, to_step(weight)) for (i, j), weight in edges.items()]
    schema = {"item": pl.Int32, "neighbor": pl.Int32, "weight": pl.Float64}
    return pl.DataFrame(sorted(rows, key=lambda row: (row[0], -row[2], row[1])), schema=schema,
                        orient="row")  # fmt: skip
