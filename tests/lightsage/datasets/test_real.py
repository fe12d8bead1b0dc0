from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import polars as pl
import pytest

from okml.data import logs
from okml.data.logs import EventLog
from okml.data.logs.schema import EVENT_SCHEMA, TITLE_SCHEMA
from okml.errors import DataError, ParameterError
from okml.lightsage.datasets import (
    ITEM_SCHEMA,
    PAIR_SCHEMA,
    ShopData,
    diginetica_sessions,
    movielens,
)
from okml.lightsage.datasets.movielens import _random_pairs
from okml.lightsage.graph import build_graph
from okml.lightsage.graph.events import CLEANED_SCHEMA


def check_form(data: ShopData) -> None:
    assert not data.synthetic
    assert data.items.schema == ITEM_SCHEMA
    assert data.items["item"].to_list() == list(range(data.item_count))
    assert data.train.schema == CLEANED_SCHEMA
    assert data.valid.schema == data.test.schema == PAIR_SCHEMA
    assert np.isfinite(data.features).all()
    for pairs in (data.valid, data.test):
        assert pairs.height > 0
        assert pairs.is_unique().all()
        assert (pairs["item"] != pairs["neighbor"]).all()
        assert pairs.select(pl.max_horizontal("item", "neighbor").max()).item() < data.item_count


def log_of(name: str, events: pl.DataFrame, resolution: int = 1, **more: Any) -> EventLog:
    frame = events.select(EVENT_SCHEMA.names()).cast(dict(EVENT_SCHEMA))
    return EventLog(name, frame, resolution, "test", "MIT", **more)


def put_log(monkeypatch: pytest.MonkeyPatch, module: str, make: Callable[[], EventLog]) -> None:
    """Let a module of data sets load a log made for a test."""
    where = import_module(f"okml.lightsage.datasets.{module}")
    monkeypatch.setattr(where.logs, "load", lambda name: make())
    monkeypatch.setattr(where, "files_used", lambda name: {})


def weeks() -> EventLog:
    """Return seventeen weeks of three sessions each, as the reader gives them."""
    week = 7 * 86_400
    rows = [
        (str(10 * period + session), str(100 + (item + session + period) % 9), period * week)
        for period in range(17)
        for session in range(3)
        for item in (0, 2, 4, 3)
    ]
    clicks = pl.DataFrame(rows, schema=["user", "item", "time"], orient="row").with_columns(
        kind=pl.lit("click"), value=None
    )
    return log_of("ader_diginetica", clicks, week, clock="period")


@pytest.fixture
def small_weeks(monkeypatch: pytest.MonkeyPatch) -> None:
    put_log(monkeypatch, "diginetica", weeks)


@pytest.mark.usefixtures("small_weeks")
def test_weeks_are_split_and_the_order_of_a_session_stays() -> None:
    data = diginetica_sessions(features=3)
    check_form(data)
    assert data.train.height == 15 * 3 * 4
    first = data.train.filter(pl.col("session") == 0)["item"]
    assert data.items["id"].gather(first).to_list() == ["100", "102", "104", "103"]
    # The last week's sessions are the pairs of the test: three steps of three sessions.
    assert data.test.height == 9


@pytest.mark.usefixtures("small_weeks")
def test_fewer_weeks_are_the_last_ones() -> None:
    data = diginetica_sessions(train_weeks=2, features=3)
    assert data.train.height == 2 * 3 * 4
    assert data.train["ts"].min() == 13 * 7 * 86_400_000
    with pytest.raises(ParameterError, match="train_weeks must be 1 to 15, not 16"):
        diginetica_sessions(train_weeks=16)


@pytest.mark.usefixtures("small_weeks")
def test_sessions_make_a_graph_of_consecutive_clicks() -> None:
    data = diginetica_sessions(features=3)
    graph = build_graph(data.train, data.item_count)
    strong = graph.edges.filter(pl.col("part") == "strong")
    steps = {(i - j) % 9 for i, j in strong.select("item", "neighbor").rows()}
    assert steps == {1, 2, 7, 8}


def ratings() -> EventLog:
    rng = np.random.default_rng(0)
    users, films = 40, 30
    rows = [
        (str(user), str(film + 1), 900_000_000 + 60 * place, float(rng.integers(1, 6)))
        for user in range(1, users + 1)
        for place, film in enumerate(rng.permutation(films)[:20])
    ]
    given = pl.DataFrame(rows, schema=["user", "item", "time", "value"], orient="row").with_columns(
        kind=pl.lit("rating")
    )
    titles = pl.DataFrame(
        [
            (
                str(film + 1),
                f"Story {film} ({1930 + 5 * (film % 14)})",
                ["Drama", "War"][: film % 3],
            )
            for film in range(films)
        ],
        schema=TITLE_SCHEMA,
        orient="row",
    )
    return log_of("ml_100k", given, titles=titles)


@pytest.fixture
def small_ratings(monkeypatch: pytest.MonkeyPatch) -> None:
    put_log(monkeypatch, "movielens", ratings)


@pytest.mark.usefixtures("small_ratings")
def test_users_train_or_test_and_pairs_are_of_films_they_liked() -> None:
    data = movielens(seed=1)
    check_form(data)
    good = ratings().frame.filter(pl.col("value") >= 4)
    liked = set(good.select(pl.col("user").cast(pl.Int64), "item").rows())
    films = data.items["id"].to_list()
    groups = [set(data.train["user"]), set(data.valid["user"]), set(data.test["user"])]
    assert sum(map(len, groups)) == len(set.union(*groups))  # nobody is in two
    for user, i, j in data.test.rows():
        assert {(user, films[i]), (user, films[j])} <= liked
    assert data.test.group_by("user").len()["len"].max() <= 20
    assert movielens(seed=1).test.equals(data.test)
    assert not movielens(seed=2).test.equals(data.test)


@pytest.mark.usefixtures("small_ratings")
def test_films_have_titles_genres_and_92_features() -> None:
    data = movielens()
    assert data.features.shape == (30, 92)
    assert data.items["title"][4] == "Story 4 (1950)"
    assert data.items["type"][4] == 195
    assert data.items["category"].to_list()[:3] == [-1, 8, 8]  # no genre, Drama, Drama


def test_a_bad_pair_draw_cannot_repeat_a_film() -> None:
    good = pl.DataFrame({"user": [1, 1, 2], "item": pl.Series([4, 9, 5], dtype=pl.Int32)})
    drawn = _random_pairs(good, np.array([1, 2]), np.random.default_rng(0))
    assert drawn.rows() == [(1, 4, 9), (1, 9, 4)]  # user 2 liked one film alone


@pytest.mark.realdata
def test_movielens_as_published() -> None:
    try:
        logs.load("ml_100k")
    except DataError as error:
        pytest.skip(str(error))
    data = movielens()
    check_form(data)
    assert data.item_count == 1682
    assert data.items.filter(pl.col("title") == "Toy Story (1995)").height == 1


@pytest.mark.realdata
def test_diginetica_as_published() -> None:
    try:
        logs.load("ader_diginetica")
    except DataError as error:
        pytest.skip(str(error))
    data = diginetica_sessions(train_weeks=1, features=8)
    check_form(data)
    assert data.test.height > 50_000
    assert len(data.used) == 17
