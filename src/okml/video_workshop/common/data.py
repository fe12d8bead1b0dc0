"""The logs of the chapter in one form: typed actions on items, in the order of events.

MovieLens has stars, KuaiRand has impressions with many signals, MicroLens has one action. The logs
differ in their sets of actions and have the same type.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from okml.data import catalog
from okml.data.digests import digest_of
from okml.data.logs import (
    EventLog,
    ImpressionLog,
    impression_names,
    load,
    load_impressions,
    microlens,
)
from okml.errors import DataError
from okml.ledger import DataUsed
from okml.seqrec.interactions import Interactions, Ints
from okml.steps import files_used as files_of_entry
from okml.video_workshop.common.events import first_of_items
from okml.video_workshop.settings.data import ACTIONS, WatchLogSettings

# Stars rounded down to whole ones. Up to 2: dislike, 3: neutral, 4: like, 5: love.
_ACTION_OF_STARS = np.array([1, 1, 1, 2, 3, 4])

# Upper ends of the buckets of the watched seconds and of the watched share of a video. The last
# bucket is open. They include Kuaishou's thresholds: 3 s is a skip, 7 s a click in the one-column
# view, 18 s a long view.
PLAY_ENDS = (0, 3, 7, 18, 60)
SHARE_ENDS = (0.1, 0.5, 0.95, 1.5)
SKIP_SECONDS = 3


@dataclass(frozen=True, eq=False)
class ActionSet:
    """The actions of a log: each is a combination of signals.

    A rating has one signal. An impression can have several (clicked, watched to the end, liked), so
    an action is the number of an observed combination, and a model that sums the vectors of an
    action's signals needs no vector for each combination.

    Attributes:
        signals: Names of the signals.
        members: Whether action ``a`` has signal ``s``, ``[actions + 1, signals]``; row 0 is padding
            and has none.
        positive: Signals that make an event a success.
    """

    signals: tuple[str, ...]
    members: NDArray[np.bool_]
    positive: tuple[str, ...]

    def __len__(self) -> int:
        """Return the number of actions."""
        return len(self.members) - 1

    @property
    def exclusive(self) -> bool:
        """Whether each action has exactly one signal, so that signals exclude each other."""
        return bool((self.members[1:].sum(1) == 1).all())

    @cached_property
    def liked(self) -> NDArray[np.bool_]:
        """Whether an action has a positive signal, ``[actions + 1]``."""
        places = [self.signals.index(signal) for signal in self.positive]
        found: NDArray[np.bool_] = self.members[:, places].sum(1) > 0
        return found


def exclusive_actions(signals: tuple[str, ...], positive: tuple[str, ...]) -> ActionSet:
    """Return actions of one signal each, numbered from 1 in their order."""
    members = np.vstack([np.zeros(len(signals), bool), np.eye(len(signals), dtype=bool)])
    return ActionSet(signals, members, positive)


# Action 0 is padding.
STARS = exclusive_actions(ACTIONS, ("like", "love"))
COMMENT = exclusive_actions(("comment",), ("comment",))


@dataclass(frozen=True, eq=False)
class Watched:
    """A log of typed actions.

    Attributes:
        interactions: Events with users from 0 and items from 1.
        actions: Number of the action of each event, 1 to ``len(kinds)``, int64 ``[e]``.
        films: Columns ``title`` and ``genres``, a row for each item in the order of item numbers.
        kinds: Actions of the log.
        random: Whether the video of an event was drawn at random, ``[e]``; None: no event was.
        dated: Whether times are comparable between users.
        source: Source of the files.
        notice: Attribution or condition to show beside results.
        dropped: Share of the users' events that are left out because their items had too few.
    """

    interactions: Interactions
    actions: Ints
    films: pl.DataFrame
    kinds: ActionSet = STARS
    random: NDArray[np.bool_] | None = None
    dated: bool = True
    source: str = ""
    notice: str = ""
    dropped: float = 0.0

    @cached_property
    def liked(self) -> NDArray[np.bool_]:
        """Whether an event was a success (a like, a long view, a comment), ``[e]``."""
        return self.kinds.liked[self.actions]

    @cached_property
    def first_seen(self) -> Ints:
        """Time of each item's first event, ``[items + 1]``; the largest integer for padding."""
        return first_of_items(self.interactions, self.interactions.times)


def has_tie_rule(log: str) -> bool:
    """Return whether events of one second have no known order, so that a rule orders them.

    They have none in MovieLens. KuaiRand and MicroLens are in the order of the millisecond.
    """
    return log.startswith("ml_")


def load_watched(settings: WatchLogSettings) -> Watched:
    """Read a log of ratings, comments or impressions.

    Args:
        settings: Settings of the log, of the part to read, and of the order of tied events.

    Raises:
        DataError: If the log has no titles or no stars.
    """
    if settings.log in impression_names():
        return of_impressions(load_impressions(settings.log), settings)
    return of_events(load(settings.log), settings)


def of_events(log: EventLog, settings: WatchLogSettings) -> Watched:
    """Return a log of stars or of comments; arguments and errors as in :func:`load_watched`."""
    if log.titles is None:
        raise DataError(f"{log.name} has no titles.", "Choose a log of MovieLens or MicroLens.")
    frame, dropped = _part_of(log.frame, settings, "time")
    tie_rule = settings.tie_rule if has_tie_rule(settings.log) else "file"
    interactions = Interactions.from_frame(frame, tie_rule, settings.tie_seed)
    numbered = pl.DataFrame({"item": interactions.item_ids})
    films = numbered.join(log.titles, on="item", how="left", maintain_order="left")
    dated = log.clock == "unix"
    if set(log.frame["kind"]) == {"comment"}:
        ones = np.ones(len(interactions), dtype=np.int64)
        return Watched(
            interactions, ones, films, COMMENT, dated=dated,
            source=log.source, notice=log.notice, dropped=dropped,
        )  # fmt: skip
    if interactions.values is None:
        raise DataError(
            f"The events of {log.name} have no stars.", "Choose a log of MovieLens or MicroLens."
        )
    stars = np.floor(interactions.values).astype(np.int64)
    actions = _ACTION_OF_STARS[stars]
    return Watched(
        interactions, actions, films, dated=dated,
        source=log.source, notice=log.notice, dropped=dropped,
    )  # fmt: skip


def of_impressions(log: ImpressionLog, settings: WatchLogSettings) -> Watched:
    """Return a log of impressions, in which a skipped impression is an event too.

    An action is a combination of Kuaishou's signals, of ``skip`` (less than 3 s, or less than the
    whole of a shorter video), and of the buckets of watched seconds and share. A long view is the
    success.
    """
    # Sorted by user and millisecond; numbering sorts by user and second and is stable.
    frame, dropped = _part_of(log.frame, settings, "time_ms")
    frame = frame.sort("user", "time_ms", maintain_order=True)
    interactions = Interactions.from_frame(
        frame.select("user", "item", pl.col("time_ms").floordiv(1000).alias("time"))
    )
    signals = _signals(frame)
    members, actions = np.unique(signals.to_numpy(), axis=0, return_inverse=True)
    kinds = ActionSet(
        tuple(signals.columns),
        np.vstack([np.zeros(members.shape[1], bool), members]),
        ("long_view",),
    )
    numbered = pl.DataFrame({"item": interactions.item_ids.cast(pl.UInt32)})
    films = numbered.join(log.videos, on="item", how="left", maintain_order="left").select(
        pl.col("item").cast(pl.String),
        pl.lit("").alias("title"),
        pl.col("tags").fill_null([]).list.eval("tag " + pl.element()).alias("genres"),
    )
    return Watched(
        interactions,
        actions.reshape(-1).astype(np.int64) + 1,
        films,
        kinds,
        np.array(frame["random"].to_numpy()),
        source=log.source,
        notice=log.notice,
        dropped=dropped,
    )


def files_used(log: str) -> dict[str, DataUsed]:
    """Return the files behind a log, with source and hash.

    Errors are those of reading it.
    """
    if log in catalog():
        return files_of_entry(log)
    return {
        f"{log}/{path.name}": DataUsed(
            source="put here by hand", sha256=digest_of(path, "sha256").value
        )
        for path in microlens.files_of(log)
    }


def _part_of(
    frame: pl.DataFrame, settings: WatchLogSettings, clock: str
) -> tuple[pl.DataFrame, float]:
    """Return the events of the drawn users, from each item's n-th event on, in their order.

    An item joins the catalog with its n-th event (n is ``least_item_events``). A filter by the
    total number of events would leak the future.

    Args:
        frame: Events of the log.
        settings: Settings of the part to read.
        clock: Name of the time column.

    Returns:
        The events, and the share of the drawn users' events that is left out.
    """
    if settings.users is not None:
        users = frame["user"].unique(maintain_order=True).sort()
        drawn = users.sample(min(settings.users, len(users)), seed=0)
        frame = frame.filter(pl.col("user").is_in(drawn.implode()))
    if settings.least_item_events is not None:
        number = pl.int_range(1, pl.len() + 1).over("item", order_by=[clock, "place"])
        kept = frame.with_row_index("place").filter(number >= settings.least_item_events)
        return kept.drop("place"), 1 - kept.height / max(frame.height, 1)
    return frame, 0.0


def _signals(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the signals of each impression, one Boolean column for each signal."""
    seconds = pl.col("play_ms") / 1000
    share = pl.col("play_ms") / pl.col("duration_ms").clip(1)
    short = pl.min_horizontal(pl.lit(1000 * SKIP_SECONDS), "duration_ms")
    given = ("click", "long_view", "like", "follow", "comment", "forward", "hate")
    return frame.select(
        (pl.col("play_ms") < short).alias("skip"),
        *given,
        **_buckets(seconds, PLAY_ENDS, "{} s"),
        **_buckets(share, SHARE_ENDS, "{} of the video"),
    )


def _buckets(value: pl.Expr, ends: tuple[float, ...], name: str) -> dict[str, pl.Expr]:
    """Return the bucket indicators of a value, each above one end and at most the next."""
    found = {}
    below: float | None = None
    for end in (*ends, None):
        inside = pl.lit(True) if below is None else value > below
        if end is not None:
            inside &= value <= end
        label = f"over {below}" if end is None else f"up to {end}"
        found[name.format(label)] = inside
        below = end
    return found
