"""Logs that break naive builders: one user, one item, robots, repeats, no times."""

from __future__ import annotations

from typing import get_args

import numpy as np
import polars as pl
import pytest

from okml.lightsage.graph import (
    GraphSettings,
    MergeSettings,
    SwingSettings,
    build_graph,
    clean,
)
from okml.lightsage.graph.graph import edges_of
from okml.lightsage.graph.settings import Part
from tests.lightsage.graph.logs import events, random_log, visit

PARTS: tuple[Part, ...] = get_args(Part)
EVERYTHING = GraphSettings(merge=MergeSettings(parts=PARTS))


def test_one_user() -> None:
    log = clean(events(*visit(0, 1, 2, 0, 3, source="search", episode=1)))
    graph = build_graph(log, 4, EVERYTHING)
    assert "swing" not in set(graph.edges["part"])  # nobody to agree with
    assert not graph.adjacency.isolated.any()


def test_one_item() -> None:
    rows = [row for user in range(5) for row in visit(0, 0, 0, user=user, session=user)]
    graph = build_graph(clean(events(*rows)), 1, EVERYTHING)
    assert graph.edges.is_empty()


def test_one_event() -> None:
    assert build_graph(clean(events({"item": 0})), 1, EVERYTHING).adjacency.isolated.all()


def test_everything_twice_gives_the_same_graph() -> None:
    once = random_log(400, 12, 20, seed=5)
    for twice in (pl.concat([once, once]), once.select(pl.all().repeat_by(2).explode())):
        one = build_graph(clean(once.unique(maintain_order=True)), 20, EVERYTHING)
        two = build_graph(clean(twice), 20, EVERYTHING)
        assert one.edges.equals(two.edges)


def robot(clicks: int, items: int) -> pl.DataFrame:
    """Return one account that clicks without end, all over the catalog, in one visit."""
    places = np.arange(clicks)
    return events({"item": 0}).select(
        user=pl.lit(10_000, pl.Int64),
        session=pl.lit(10_000, pl.Int64),
        ts=pl.Series(places * 100),
        item=pl.Series(places * 7 % items, dtype=pl.Int32),
        action=pl.lit("click"),
        source=pl.lit("search"),
        from_item=pl.lit(-1, pl.Int32),
        query=pl.lit(3, pl.Int64),
        episode=pl.lit(10_000, pl.Int32),
    )


def test_a_robot_is_dropped_by_default() -> None:
    people = random_log(2_000, 50, 300, seed=1)
    with_robot = clean(pl.concat([people, robot(100_000, 300)]))
    assert with_robot.equals(clean(people))


@pytest.mark.parametrize("part", ["search", "swing", "cosine"])
def test_a_robot_that_stays_adds_no_pairs(part: Part) -> None:
    """The caps on users and on episodes leave it out whole."""
    people = random_log(2_000, 50, 300, seed=1)
    both = clean(pl.concat([people, robot(100_000, 300)]), most_user_events=None)
    assert both.height > 100_000
    assert edges_of(part, both).equals(edges_of(part, clean(people)))


def test_a_robot_that_stays_counts_once_a_day_as_anyone_does() -> None:
    weak = edges_of("weak", clean(robot(100_000, 300), most_user_events=None))
    assert weak["weight"].max() == 1
    assert weak.height == 300


def test_an_item_that_everyone_has_is_capped() -> None:
    users = 3_000
    rows = pl.concat(
        [
            events({"item": 0}).select(
                user=pl.Series(np.arange(users)),
                session=pl.Series(np.arange(users)),
                ts=pl.lit(place * 60_000, pl.Int64),
                item=pl.Series(item, dtype=pl.Int32),
                action=pl.lit("click"),
                source=pl.lit("search"),
                from_item=pl.lit(-1, pl.Int32),
                query=pl.lit(-1, pl.Int64),
                episode=pl.Series(np.arange(users), dtype=pl.Int32),
            )
            for place, item in enumerate([np.zeros(users), 1 + np.arange(users) % 40])
        ]
    )
    found = edges_of("swing", clean(rows))
    most = SwingSettings().most_item_users
    assert 0 < found.filter(pl.col("item") == 0)["pairs"].sum() <= most * (most - 1) // 2
