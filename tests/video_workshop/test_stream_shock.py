"""A shift of taste: which events are left."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from okml.errors import ParameterError
from okml.seqrec.interactions import Interactions
from okml.video_workshop.settings.stream import ShockSettings
from okml.video_workshop.stream.periods import DAY
from okml.video_workshop.stream.served import favorite_genres, simulate_shock

GENRES = [["drama"], ["comedy", "drama"], ["war"], [], ["comedy"], ["war", "noir"]]
SETTINGS = ShockSettings(period=3, genres=2, kept=0.2)


def log(events: int = 6_000) -> Interactions:
    """Return users of six weeks, who take the second item twice as often as each other one."""
    rng = np.random.default_rng(0)
    return Interactions.from_frame(
        pl.DataFrame(
            {
                "user": rng.integers(40, size=events),
                "item": rng.permutation(np.resize([1, 2, 2, 3, 4, 5, 6], events)),
                "time": np.concatenate([[0], rng.integers(6 * 7 * DAY, size=events - 1)]),
            }
        )
    )


def test_favorites_by_hand() -> None:
    frame = pl.DataFrame({"user": [1] * 7, "item": [1, 1, 2, 3, 3, 3, 4], "time": range(7)})
    found = Interactions.from_frame(frame)
    genres = [["drama"], ["comedy", "drama"], ["war"], []]
    # Three events of dramas, three of war films, one of a comedy; equal ones go by name.
    assert favorite_genres(found, genres, 3) == ("drama", "war", "comedy")
    assert favorite_genres(found, genres, 1) == ("drama",)


def test_only_later_events_of_the_favorites_go() -> None:
    """Comedy and drama have three sevenths each, war two; an item without them loses nothing."""
    before = log()
    after = simulate_shock(before, GENRES, SETTINGS, 7)
    late = 3 * 7 * DAY
    assert favorite_genres(before, GENRES, 2) in {("comedy", "drama"), ("drama", "comedy")}
    shares = {}
    for item in range(1, 7):
        for name, part in (("early", lambda t: t < late), ("late", lambda t: t >= late)):
            counts = [int((part(x.times) & (x.items == item)).sum()) for x in (before, after)]
            shares[item, name] = counts[1] / counts[0]
    assert all(shares[item, "early"] == 1 for item in range(1, 7))
    assert all(shares[item, "late"] == 1 for item in (3, 4, 6))
    # 429 events or more each: 0.2 with a standard deviation of 0.019.
    assert all(0.1 < shares[item, "late"] < 0.3 for item in (1, 2, 5))
    assert after.user_count == before.user_count
    assert after.offsets[-1] == len(after)
    for user in range(0, 40, 7):  # each user keeps a part of the own events, in their order
        own = after.times[after.offsets[user] : after.offsets[user + 1]]
        assert np.isin(own, before.times[before.offsets[user] : before.offsets[user + 1]]).all()
        assert (np.diff(own) >= 0).all()


def test_a_shock_after_the_end_is_an_error() -> None:
    with pytest.raises(ParameterError, match="shock in period 9"):
        simulate_shock(log(200), GENRES, SETTINGS.model_copy(update={"period": 9}), 7)
    with pytest.raises(ParameterError, match="No event of a genre"):
        simulate_shock(log(200), [[]] * 6, SETTINGS, 7)
