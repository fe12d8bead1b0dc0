"""The streams of the experiments: simulated launches and shocks, and the test rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from okml.data.logs import load
from okml.errors import ParameterError
from okml.seqrec.interactions import Interactions, Ints
from okml.seqrec.rows import Rows, all_rows
from okml.video_workshop.common.events import first_of_items, keep_events
from okml.video_workshop.settings.stream import (
    LaunchSettings,
    SessionSettings,
    ShockSettings,
    WeeklySettings,
)
from okml.video_workshop.stream.periods import DAY, Stream, sample_targets

# Ages of an item at an event, in days: the first week, the next three, later.
YOUNG = "0-7 d"
AGES = {YOUNG: (0, 7), "8-28 d": (7, 28), "older": (28, float("inf"))}


@dataclass(frozen=True, eq=False)
class Launched:
    """A log without the events of some items before their launch.

    Attributes:
        interactions: Remaining events; numbers of users and items are kept.
        born: Time in seconds at which each item appears, ``[items + 1]``: its launch, or its first
            event.
        chosen: Items with a simulated launch, ascending.
    """

    interactions: Interactions
    born: Ints
    chosen: Ints


def simulate_launches(
    interactions: Interactions, settings: LaunchSettings, days: float
) -> Launched:
    """Draw a launch period for some items, and delete their events before it.

    Args:
        interactions: Event log of all users.
        settings: Number of launched items and the range of their periods.
        days: Length of a period in days.

    Raises:
        ParameterError: If no item has enough events.
    """
    rng = np.random.default_rng(0)
    counts = np.bincount(interactions.items, minlength=interactions.item_count + 1)
    able = np.flatnonzero(counts >= settings.least_events)
    amount = round(settings.share * len(able))
    if not amount:
        raise ParameterError(
            f"A share {settings.share} of {len(able)} items with {settings.least_events} events "
            "or more launches nobody.",
            "Lower launches.least_events.",
        )
    chosen = np.sort(rng.choice(able, amount, replace=False))
    period = rng.integers(settings.first, settings.last + 1, amount)
    launch = np.full(interactions.item_count + 1, np.iinfo(np.int64).min)
    launch[chosen] = interactions.times.min() + period * round(days * DAY)
    kept = keep_events(interactions, interactions.times >= launch[interactions.items])
    born = first_of_items(kept, kept.times)
    born[chosen] = launch[chosen]
    return Launched(kept, born, chosen)


def age_slices(ages: NDArray[np.float64]) -> dict[str, NDArray[np.bool_]]:
    """Return the mask of the ages (days, ``[r]``) in each slice of :data:`AGES`."""
    return {name: (ages >= low) & (ages < high) for name, (low, high) in AGES.items()}


Genres = Sequence[Sequence[str]]  # item numbers from 1 set the order


def favorite_genres(interactions: Interactions, genres: Genres, amount: int) -> tuple[str, ...]:
    """Return the genres with the most events, in descending order, ties by name.

    An event counts for all genres of its item.
    """
    events = np.bincount(interactions.items, minlength=interactions.item_count + 1)[1:]
    counts: Counter[str] = Counter()
    for number, names in zip(events.tolist(), genres, strict=True):
        counts.update(dict.fromkeys(names, number))
    return tuple(sorted(counts, key=lambda name: (-counts[name], name))[:amount])


def of_genres(genres: Genres, chosen: Iterable[str]) -> NDArray[np.bool_]:
    """Return whether each item has one of the chosen genres, ``[items + 1]``; False for item 0."""
    wanted = set(chosen)
    return np.array([False, *(bool(wanted & set(names)) for names in genres)])


def simulate_shock(
    interactions: Interactions, genres: Genres, settings: ShockSettings, days: float
) -> Interactions:
    """Delete most events of items with a favorite genre from a period on.

    Args:
        interactions: Event log of all users.
        genres: Genres of each item, in the order of item numbers from 1.
        settings: Number of favorite genres, share of kept events, and period of the shock.
        days: Length of a period in days.

    Raises:
        ParameterError: If there is no event after the shock, or no item has a genre.
    """
    favorites = set(favorite_genres(interactions, genres, settings.genres))
    start = interactions.times.min() + settings.period * round(days * DAY)
    late = interactions.times >= start
    if not late.any() or not favorites:
        raise ParameterError(
            f"No event of a genre comes after a shock in period {settings.period}.",
            "Set stream.weekly.shock.period lower, or take a log whose items have genres.",
        )
    has = of_genres(genres, favorites)
    drawn = np.random.default_rng(0).random(len(interactions)) < settings.kept
    return keep_events(interactions, ~late | ~has[interactions.items] | drawn)


FEW = 5  # events; users with fewer form a slice


@dataclass(frozen=True, eq=False)
class ServedStream:
    """A stream and its test requests.

    Attributes:
        first: Number of the first served period.
        rows: Test rows, in the order of events.
        drawn: Mask of the rows drawn as a sample of all requests, ``[r]``; the others are requests
            of launched items.
        ages: Age of each row's target in days, ``[r]``.
        launched: Items with a simulated launch, ascending.
        hide_seen: Whether items that a user has had are left out of rankings.
    """

    stream: Stream
    first: int
    rows: Rows
    drawn: NDArray[np.bool_]
    ages: NDArray[np.float64]
    launched: Ints
    hide_seen: bool

    @property
    def targets(self) -> Ints:
        """Target item of each row, ``[r]``."""
        return self.stream.interactions.items[self.rows.end].astype(np.int64)

    @property
    def period(self) -> Ints:
        """Period of each row, ``[r]``."""
        return self.stream.period[self.rows.end]

    def user_slices(self) -> dict[str, NDArray[np.bool_]]:
        """Return the mask of the rows of each slice of users, ``[r]``.

        A user is new if the first event is in a served period; the last slice has the requests with
        few earlier events, of old and new users.
        """
        start = self.stream.interactions.offsets[self.rows.user]
        new = self.stream.period[start] >= self.first
        few = self.rows.end - start < FEW
        return {"users of the base": ~new, "new users": new, f"under {FEW} events": few}


def weekly_stream(
    interactions: Interactions,
    settings: WeeklySettings,
    shards: float = 1.0,
    shocked: Genres | None = None,
    early: bool = False,
) -> ServedStream:
    """Return the chapter's log with launches, cut into periods.

    Args:
        interactions: Event log of all users.
        settings: Settings of the weekly stream.
        shards: Number of shards of a served period, after each of which a recommender is updated.
            The rows do not depend on it.
        shocked: Genres of each item, for a stream with the shock of the settings; None: no shock.
            Events before the shock are the same.
        early: Whether to return the periods on which rates are chosen in place of the served ones,
            which come after them.
    """
    start, first, days = int(interactions.times.min()), settings.first, settings.days
    launched = simulate_launches(interactions, settings.launches, days)
    if early:
        chosen_on = settings.choice
        first -= chosen_on.periods
        log = launched.interactions
        period = Stream.by_time(log, days, start).period
        few = np.random.default_rng(0).random(log.user_count) < chosen_on.users
        kept = (period < first) | ((period < settings.first) & few[log.users()])
        launched = replace(launched, interactions=keep_events(log, kept))
    if shocked is not None:
        left = simulate_shock(launched.interactions, shocked, settings.shock, days)
        launched = replace(launched, interactions=left)
    of_periods = Stream.by_time(launched.interactions, days, start)
    drawn = sample_targets(of_periods, first, settings.rows)
    rows = all_rows(launched.interactions)
    late = of_periods.period[rows.end] >= first
    new = np.isin(launched.interactions.items[rows.end], launched.chosen)
    picked = np.isin(rows.end, drawn.end)
    kept = picked | (late & new)
    rows = rows.take(kept)
    items = launched.interactions.items[rows.end]
    ages = (launched.interactions.times[rows.end] - launched.born[items]) / DAY
    return ServedStream(
        stream=Stream.by_time(launched.interactions, days, start, first, shards),
        first=first,
        rows=rows,
        drawn=picked[kept],
        ages=ages,
        launched=launched.chosen,
        hide_seen=True,
    )


def session_stream(settings: SessionSettings) -> ServedStream:
    """Return sessions in ADER's periods; the first period trains the base model.

    Targets without a click before their period are left out, because ADER's softmax covers only the
    items it has seen.
    """
    log = load(settings.log)
    seconds = int(log.time_resolution_seconds)
    frame = log.frame.with_columns(period=pl.col("time") // seconds)
    frame = frame.filter(pl.col("period") < settings.periods)
    if settings.items is not None:
        counts = frame["item"].value_counts().sort("count", "item", descending=[True, False])
        frame = frame.join(
            counts.head(settings.items), on="item", how="semi", maintain_order="left"
        )
    if settings.sessions is not None:
        sessions = frame.select("period", "user").unique().sort("period", "user")
        order = sessions.sample(fraction=1, shuffle=True, seed=0)
        kept = order.group_by("period").head(settings.sessions)
        frame = frame.join(kept, on=["period", "user"], how="semi", maintain_order="left")
    interactions = Interactions.from_frame(frame)
    stream = Stream(interactions, interactions.times // seconds)
    rows = sample_targets(stream, 1, settings.rows)
    known = stream.first_period[interactions.items[rows.end]] < stream.period[rows.end]
    rows = rows.take(known)
    return ServedStream(
        stream=stream,
        first=1,
        rows=rows,
        drawn=np.ones(len(rows), bool),
        ages=np.full(len(rows), np.nan),
        launched=np.empty(0, np.int64),
        hide_seen=False,
    )
