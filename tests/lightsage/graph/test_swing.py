from __future__ import annotations

from itertools import permutations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from okml.errors import ParameterError, ResourceError
from okml.lightsage.graph.events import clean
from okml.lightsage.graph.settings import SwingSettings
from okml.lightsage.graph.swing import SWING_SCHEMA, incidence, swing, user_items
from tests.lightsage.graph import reference
from tests.lightsage.graph.logs import events, user_item_pairs, visit

A, B, C, D = range(4)
# u1 = {a, b, c}, u2 = {a, b}, u3 = {a, b, d}, u4 = {c, d}
HAND = {1: (A, B, C), 2: (A, B), 3: (A, B, D), 4: (C, D)}
PLAIN = SwingSettings().unbounded()


def pairs_of(items: dict[int, tuple[int, ...]]) -> pl.DataFrame:
    rows = [(user, item) for user, of in items.items() for item in of]
    return pl.DataFrame(rows, schema={"user": pl.Int64, "item": pl.Int32}, orient="row")


def scores(found: pl.DataFrame) -> dict[tuple[int, int], float]:
    return {(i, j): weight for i, j, weight in found.select("item", "neighbor", "weight").rows()}


@pytest.mark.parametrize(
    ("offset", "power", "expected"),
    [(0, 0.0, 1.0), (0, 0.5, 0.383277), (5, 0.35, 0.240698)],
)
def test_the_worked_example(offset: float, power: float, expected: float) -> None:
    chosen = PLAIN.model_copy(update={"user_offset": offset, "user_power": power})
    found = scores(swing(pairs_of(HAND), chosen))
    assert found == {
        (A, B): pytest.approx(expected, abs=1e-6),
        (B, A): pytest.approx(expected, abs=1e-6),
    }


def test_the_published_formula_by_hand() -> None:
    """With w = |I|^-1/2: pairs (1, 2), (1, 3), (2, 3) share a and b and nothing else."""
    chosen = PLAIN.model_copy(update={"user_offset": 0, "user_power": 0.5})
    w1, w2, w3 = 3**-0.5, 2**-0.5, 3**-0.5
    expected = (w1 * w2 + w1 * w3 + w2 * w3) / (1 + 2)
    assert scores(swing(pairs_of(HAND), chosen))[A, B] == pytest.approx(expected, abs=1e-9)


def test_one_user_alone_makes_no_pair() -> None:
    assert swing(pairs_of({1: (A, B, C)}), PLAIN).is_empty()


def test_a_cycle_of_users_scores_less_than_strangers() -> None:
    """Accounts that share all they have vouch less for a pair than users with nothing else."""
    ring = {user: tuple(range(40)) for user in range(5)}
    strangers = {user: (100, 101, 200 + user) for user in (10, 11, 12, 13, 14)}
    found = scores(swing(pairs_of(ring | strangers), PLAIN))
    assert found[100, 101] > 10 * found[0, 1]


@given(
    user_item_pairs(),
    st.sampled_from([0.5, 1.0, 3.0]),
    st.sampled_from([(0.0, 0.5), (5.0, 0.35), (0.0, 0.0)]),
    st.integers(1, 8),
    st.integers(1, 4),
    st.integers(1, 3),
    st.sampled_from([0.0, 0.05, 0.3]),
    st.integers(1, 4),
)
def test_random_logs_give_the_scores_of_brute_force(
    pairs: pl.DataFrame,
    alpha: float,
    weight: tuple[float, float],
    most_items: int,
    most_users: int,
    least_pairs: int,
    least_score: float,
    most_neighbors: int,
) -> None:
    chosen = SwingSettings(
        alpha=alpha,
        user_offset=weight[0],
        user_power=weight[1],
        least_user_items=1,
        most_user_items=1 + most_items,
        most_item_users=1 + most_users,
        least_pairs=least_pairs,
        least_score=least_score,
        most_neighbors=most_neighbors,
    )
    found = swing(pairs, chosen)
    expected = reference.frame(reference.swing(reference.of_pairs(pairs), chosen))
    assert found.schema == SWING_SCHEMA
    assert found.select("item", "neighbor").equals(expected.select("item", "neighbor"))
    assert found["weight"].to_numpy() == pytest.approx(expected["weight"].to_numpy(), abs=1e-9)


@given(user_item_pairs(), st.integers(0, 2**32 - 1))
def test_rows_and_threads_do_not_matter_and_plain_scores_are_symmetric(
    pairs: pl.DataFrame, seed: int
) -> None:
    found = swing(pairs, PLAIN)
    assert swing(pairs.sample(fraction=1, shuffle=True, seed=seed), PLAIN).equals(found)
    assert swing(pairs, PLAIN, threads=3).equals(found)
    of = scores(found)
    assert all(of[j, i] == pytest.approx(of[i, j], abs=1e-9) for i, j in of)


def test_pairs_of_users_are_counted() -> None:
    assert swing(pairs_of(HAND), PLAIN)["pairs"].to_list() == [3, 3]


def test_whole_lists_of_items_enter_overlaps_when_users_of_an_item_are_capped() -> None:
    """Cutting the lists before the overlap is the mistake of a join over capped rows."""
    crowd = dict.fromkeys(range(6), (A, B, C, D))
    chosen = PLAIN.model_copy(update={"most_item_users": 2, "user_offset": 0.0, "user_power": 0.0})
    found = scores(swing(pairs_of(crowd), chosen))
    assert found == {
        pair: pytest.approx(1 / (1 + 4), abs=1e-9) for pair in permutations((A, B, C, D), 2)
    }


def test_a_session_may_stand_for_a_user() -> None:
    log = clean(events(*visit(1, 2), *visit(3, session=1), *visit(1, session=2, user=1)))
    assert user_items(log).rows() == [(0, 1), (0, 2), (0, 3), (1, 1)]
    by_session = user_items(log, SwingSettings(over="session"))
    assert by_session.rows() == [(0, 1), (0, 2), (1, 3), (2, 1)]


def test_a_pair_given_twice_is_an_error() -> None:
    with pytest.raises(ParameterError, match="occurs twice"):
        swing(pairs_of({1: (A, A)}), PLAIN)


def test_more_users_than_memory_holds_pairs_of_is_an_error_with_a_way_out() -> None:
    crowd = pl.DataFrame(
        {"user": np.arange(40_000), "item": np.zeros(40_000, np.int32)},
        schema={"user": pl.Int64, "item": pl.Int32},
    )
    with pytest.raises(ResourceError, match=r"40,000 users[\s\S]*most_item_users"):
        swing(crowd, PLAIN)
    assert swing(crowd, SwingSettings(least_user_items=1)).is_empty()


def test_the_cap_bounds_the_pairs_of_users() -> None:
    crowd = pl.DataFrame(
        {"user": np.repeat(np.arange(5_000), 2), "item": np.tile([0, 1], 5_000)},
        schema={"user": pl.Int64, "item": pl.Int32},
    )
    capped = incidence(crowd, SwingSettings(most_item_users=50))
    assert capped.pairs == 2 * (50 * 49 // 2)
    assert incidence(crowd, PLAIN).pairs == 2 * (5_000 * 4_999 // 2)


def test_the_cap_keeps_different_users_at_different_items() -> None:
    users, items = 400, 20
    crowd = pl.DataFrame(
        {"user": np.repeat(np.arange(users), items), "item": np.tile(np.arange(items), users)},
        schema={"user": pl.Int64, "item": pl.Int32},
    )
    capped = incidence(crowd, SwingSettings(most_item_users=40))
    times_kept = np.bincount(capped.item_users, minlength=users)
    # Each item keeps a tenth: a user is kept 2 times on average, binomially if kept independently.
    assert times_kept.mean() == pytest.approx(items * 40 / users)
    assert times_kept.var() == pytest.approx(items * 0.1 * 0.9, rel=0.3)


def test_feed_clicks_stay_out_and_carts_come_in() -> None:
    log = clean(
        events(
            *visit(1, 2, source="feed"),
            {"ts": 1e7, "item": 1, "source": "feed", "action": "cart"},
            {"ts": 2e7, "item": 3, "source": "search"},
        )
    )
    assert user_items(log).rows() == [(0, 1), (0, 3)]
    with_feed = SwingSettings(sources=("pdp_rec", "search", "other", "feed"))
    assert user_items(log, with_feed).rows() == [(0, 1), (0, 2), (0, 3)]
