"""The streams of the experiments and their test rows."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from okml.data.logs import load
from okml.seqrec.interactions import Interactions, Ints
from okml.seqrec.rows import Rows, all_rows
from okml.video_workshop.stream.launches import simulate_launches
from okml.video_workshop.stream.settings import SessionSettings, WeeklySettings
from okml.video_workshop.stream.shocks import Genres, simulate_shock
from okml.video_workshop.stream.windows import DAY, Stream, sample_targets

FEW = 5  # events; users with fewer form a slice (spec 4.10)


@dataclass(frozen=True, eq=False)
class World:
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


def weekly_world(
    interactions: Interactions,
    settings: WeeklySettings,
    shards: float = 1.0,
    shocked: Genres | None = None,
) -> World:
    """Return the chapter's log with launches, cut into periods.

    Args:
        interactions: Event log of all users.
        settings: Settings of the weekly stream.
        shards: Number of shards of a served period, after each of which a recommender is updated.
            The rows do not depend on it.
        shocked: Genres of each item, for a stream with the shock of the settings; None: no shock.
            Events before the shock are the same.
    """
    start, first, days = int(interactions.times.min()), settings.first, settings.days
    launched = simulate_launches(interactions, settings.launches, days)
    if shocked is not None:
        assert settings.shock is not None
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
    return World(
        stream=Stream.by_time(launched.interactions, days, start, first, shards),
        first=first,
        rows=rows,
        drawn=picked[kept],
        ages=ages,
        launched=launched.chosen,
        hide_seen=True,
    )


def session_world(settings: SessionSettings) -> World:
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
    return World(
        stream=stream,
        first=1,
        rows=rows,
        drawn=np.ones(len(rows), bool),
        ages=np.full(len(rows), np.nan),
        launched=np.empty(0, np.int64),
        hide_seen=False,
    )
