"""The golden log and its edges, stored beside this file as text.

``python -m tests.lightsage.graph.golden`` writes them anew from the plain definitions.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from okml.lightsage.graph.events import EVENT_SCHEMA, clean
from okml.lightsage.graph.settings import (
    GraphSettings,
    MergeSettings,
    Part,
    SearchSettings,
    StrongSettings,
    SwingSettings,
)
from tests.lightsage.graph import reference
from tests.lightsage.graph.logs import random_log

FOLDER = Path(__file__).parent / "golden"
ITEMS = 30
PARTS: tuple[Part, ...] = ("strong", "search", "swing", "cosine", "weak")
SETTINGS = GraphSettings(
    strong=StrongSettings(rules=("page_click", "cart_after_page", "next_page")),
    search=SearchSettings(most_items=5),
    swing=SwingSettings(most_user_items=20, most_item_users=9, most_neighbors=6),
    merge=MergeSettings(parts=PARTS, most_neighbors=8),
)


def log() -> pl.DataFrame:
    return pl.read_csv(FOLDER / "log.csv", schema=EVENT_SCHEMA)


def edges() -> pl.DataFrame:
    """Return ``part, item, neighbor, weight`` of all kinds, ``merged`` and ``directed``."""
    kinds = {"part": pl.String, "item": pl.Int32, "neighbor": pl.Int32, "weight": pl.Float64}
    return pl.read_csv(FOLDER / "edges.csv", schema=kinds)


def edges_of(part: str) -> pl.DataFrame:
    return edges().filter(pl.col("part") == part).drop("part")


def by_definition() -> pl.DataFrame:
    cleaned = clean(log())
    counted = {part: reference.edges_of(part, cleaned, SETTINGS) for part in PARTS}
    both_ways = {part: reference.symmetric(of) for part, of in counted.items()}
    every = counted | {
        "merged": reference.merge(both_ways, SETTINGS.merge),
        "directed": reference.merge(counted, SETTINGS.merge),
    }
    return pl.concat(
        [
            reference.frame(of).select(pl.lit(part).alias("part"), pl.all())
            for part, of in every.items()
        ]
    )


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    random_log(700, 25, ITEMS, seed=11).write_csv(FOLDER / "log.csv")
    by_definition().write_csv(FOLDER / "edges.csv")
