from collections import Counter

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from okml.data.logs import k_core
from okml.errors import ParameterError

Pairs = list[tuple[str, str]]


def frame_of(pairs: Pairs) -> pl.DataFrame:
    schema = {"user": pl.String, "item": pl.String, "row": pl.Int64}
    rows = [(user, item, row) for row, (user, item) in enumerate(pairs)]
    return pl.DataFrame(rows, schema=schema, orient="row")


def by_hand(pairs: Pairs, users: int, items: int) -> list[int]:
    """Remove one offending event at a time until none offends."""
    kept = list(range(len(pairs)))
    while True:
        of_user = Counter(pairs[row][0] for row in kept)
        of_item = Counter(pairs[row][1] for row in kept)
        for row in kept:
            if of_user[pairs[row][0]] < users or of_item[pairs[row][1]] < items:
                kept.remove(row)
                break
        else:
            return kept


@given(
    st.lists(st.tuples(st.sampled_from("abcde"), st.sampled_from("uvwxyz")), max_size=40),
    st.integers(0, 5),
    st.integers(0, 5),
)
def test_the_core_is_what_removing_one_by_one_leaves(pairs, users, items):
    kept = k_core(frame_of(pairs), users=users, items=items)
    assert kept["row"].to_list() == by_hand(pairs, users, items)


def test_dropping_an_item_can_drop_a_user_and_then_another_item():
    # z is rare; without it c has one event; without c's event y is rare; then b and all the rest.
    pairs = [("a", "x"), ("a", "x"), ("b", "x"), ("b", "y"), ("c", "y"), ("c", "z")]
    assert k_core(frame_of(pairs), users=2, items=2)["row"].to_list() == [0, 1]


def test_negative_thresholds_mean_nothing():
    with pytest.raises(ParameterError):
        k_core(frame_of([]), users=-1, items=0)
