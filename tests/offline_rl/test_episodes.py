"""Episodes, rewards and the preparation of logs."""

import itertools

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from okml.data.logs import EVENT_SCHEMA, EventLog
from okml.errors import DataError
from okml.offline_rl import data
from okml.offline_rl.config import PROFILES
from okml.offline_rl.data import filtered, prepare
from okml.offline_rl.episodes import Episodes, returns_to_go
from okml.offline_rl.rewards import least_wanted, with_rewards
from okml.seqrec.interactions import Interactions
from tests.offline_rl.tables import episodes, source, whole_batch


def frame(rows):
    return pl.DataFrame(rows, schema=EVENT_SCHEMA, orient="row")


@given(
    lengths=st.lists(st.integers(1, 6), min_size=1, max_size=5),
    gamma=st.floats(0, 0.99),
    seed=st.integers(0, 9),
)
def test_returns_are_discounted_sums(lengths, gamma, seed):
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    rewards = np.random.default_rng(seed).normal(size=offsets[-1]).astype(np.float32)
    found = returns_to_go(rewards, offsets, gamma)
    for first, last in itertools.pairwise(offsets):
        for place in range(first, last):
            expected = sum(gamma ** (k - place) * rewards[k] for k in range(place, last))
            assert found[place] == pytest.approx(expected, abs=1e-4)


def test_a_batch_holds_transitions_of_the_log():
    made = episodes([[1, 2, 3], [3, 1]], [[0.2, 1.0, 0.2], [0.2, 1.0]])
    batch = whole_batch(made, 4)
    rows = {tuple(row): number for number, row in enumerate(batch.items.tolist())}
    first, second = rows[1, 2, 0, 0], rows[3, 0, 0, 0]
    assert batch.targets[first].tolist() == [2, 3, 0, 0]
    assert batch.rewards[first].tolist() == pytest.approx([1.0, 0.2, 0, 0])
    assert batch.ends[first].tolist() == [False, True, False, False]
    assert batch.has_next[first].tolist() == [True, False, False, False]
    assert batch.returns[first].tolist() == pytest.approx([1.18, 0.2, 0, 0])
    assert batch.targets[second].tolist() == [1, 0, 0, 0]
    assert batch.ends[second].tolist() == [True, False, False, False]


def test_what_training_must_not_see_ends_no_episode():
    """With the last event held out, the last training event has a next state nobody knows."""
    made = episodes([[1, 2, 3, 4]], [[0.2] * 4])
    from okml.offline_rl.episodes import TransitionBatches
    from okml.seqrec.rows import cut_windows

    windows = cut_windows(made.interactions, np.array([3]), 4)
    batch = TransitionBatches(made, windows, jitter=False).batch(
        np.array([0]), np.random.default_rng(0)
    )
    assert batch.targets[0].tolist() == [2, 3, 0, 0]
    assert not batch.ends.any()
    assert batch.has_next[0].tolist() == [True, False, False, False]


def test_jittered_windows_tell_the_transitions_of_the_episode():
    """Items 1 to 11 in turn, item i with the reward (i - 1) / 10."""
    batches = source(episodes([range(1, 12)], [np.arange(11) / 10]), 4, jitter=True)
    told, first = {}, set()
    for seed in range(5):
        batch = batches.batch(np.arange(len(batches)), np.random.default_rng(seed))
        for row, column in batch.targets.nonzero().tolist():
            item = int(batch.targets[row, column])
            assert batch.items[row, column] == item - 1
            inside = column < 3 and bool(batch.targets[row, column + 1])
            assert batch.has_next[row, column] == inside
            fields = (batch.rewards, batch.returns, batch.ends)
            told.setdefault(item, set()).add(tuple(float(each[row, column]) for each in fields))
        first |= set(batch.targets[:, 0].tolist())
    assert len(first) > len(batches)  # they moved
    assert sorted(told) == list(range(2, 12))
    for item, [found] in told.items():
        to_go = sum(0.9 ** (i - item) * (i - 1) / 10 for i in range(item, 12))
        assert found == pytest.approx(((item - 1) / 10, to_go, float(item == 11)), rel=1e-5)


def test_rewards_by_hand():
    ratings = frame([("u", "a", 1, "rating", v) for v in (5.0, 4.0, 3.0, 0.5)])
    found = {kind: with_rewards(ratings, kind)["value"].to_list() for kind in ("rating", "like")}
    assert found["rating"] == pytest.approx([1.0, 0.8, 0.6, 0.1])
    assert found["like"] == pytest.approx([1.0, 1.0, 0.2, 0.2])
    shop = frame([("u", "a", 1, "click", None), ("u", "a", 2, "purchase", 9.0)])
    assert with_rewards(shop, "click_buy")["value"].to_list() == pytest.approx([0.2, 1.0])
    # Four stars are wanted whatever they are worth.
    for kind in found:
        wanted = np.array(found[kind]) >= least_wanted(kind) - 1e-6
        assert wanted.tolist() == [True, True, False, False]


def test_ratings_are_needed_where_rewards_are_made_of_them():
    with pytest.raises(DataError, match="1 events have none"):
        with_rewards(frame([("u", "a", 1, "click", None)]), "like")


def test_a_reward_that_is_no_number_is_refused():
    rows = [("u", "a", 1, 0.2), ("u", "b", 2, float("nan"))]
    log = pl.DataFrame(rows, schema=["user", "item", "time", "value"], orient="row")
    with pytest.raises(DataError, match="no reward"):
        Episodes.of(Interactions.from_frame(log), 0.9)


def shop_log(name):
    """Clicks and purchases in unsorted order, an item in both kinds of event."""
    rows = []
    for user in range(40):
        for step in range(2 + user % 5):
            item = (user + step) % 9
            rows.append((f"s{user}", f"i{item}", 100 * user + step, "click", None))
            if step == 1:
                rows.append((f"s{user}", f"i{item}", 100 * user + step, "purchase", 3.0))
    return EventLog(name, frame(rows[::-1]).sort("time", maintain_order=True), 1, "made", "none")


def shop_settings(**changes):
    base = PROFILES["smoke"].funnel
    return type(base).model_validate(
        base.model_dump()
        | {"log": "yoochoose", "length": 5, "users": None, "test_rows_per_user": None}
        | changes
    )


def test_clicks_and_purchases_of_one_item_have_one_number(monkeypatch):
    monkeypatch.setattr(data.logs, "load", shop_log)
    made = prepare(shop_settings(), 0.9)
    assert made.items == 9
    assert sorted({round(float(r), 3) for r in made.episodes.rewards}) == [0.2, 1.0]
    parts = [set(rows.user) for rows in (made.split.train, made.split.valid, made.split.test)]
    assert not (parts[0] & parts[1])
    assert not (parts[0] & parts[2])
    assert not (parts[1] & parts[2])


def test_filters_drop_rare_items_first_and_then_short_sessions():
    log = shop_log("yoochoose").frame
    kept = filtered(log, shop_settings(least_item_events=15, least_user_events=3))
    clicks = log.filter(kind="click")
    often = clicks.group_by("item").len().filter(pl.col("len") >= 15)["item"].to_list()
    clicks = clicks.filter(pl.col("item").is_in(often))
    long = clicks.group_by("user").len().filter(pl.col("len") >= 3)["user"].to_list()
    # Purchases are not counted, and stay with their sessions.
    by_hand = log.filter(
        pl.col("user").is_in(long) & (pl.col("item").is_in(often) | (pl.col("kind") == "purchase"))
    )
    assert kept.equals(by_hand)
    assert 0 < len(kept) < len(log)
    drawn = filtered(log, shop_settings(users=7))
    assert drawn["user"].n_unique() == 7
    whole = log.filter(pl.col("user").is_in(drawn["user"].unique().to_list()))
    assert drawn.equals(whole)
    with pytest.raises(DataError, match="No event"):
        filtered(log, shop_settings(least_item_events=10_000))
