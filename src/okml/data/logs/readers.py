"""The logs whose files have one event a line: MovieLens, YOOCHOOSE, Amazon, Gowalla and ADER's."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from okml.data.cache import repair_command
from okml.data.catalog import entry
from okml.data.inventory import fetched_from
from okml.data.logs.lines import Layout, read_events
from okml.data.logs.movielens_titles import read_titles
from okml.data.logs.schema import EventLog, TimeSpan

DAY, WEEK = 86_400, 7 * 86_400  # seconds

# Users' ratings of films, with times to the second (UTC): GroupLens's own files, and RecBole's
# atomic ones, whose 1M names films by title instead of number.
MOVIELENS = Layout(
    separator=",",
    fields=("user", "item", "value", "time"),
    kind="rating",
    span=TimeSpan.of_days("1995-01-01", "2019-12-31"),
    header="userId,movieId,rating,timestamp",
    values=(0.5, 5),
)
ATOMIC = replace(
    MOVIELENS,
    separator="\t",
    header="user_id:token\titem_id:token\trating:float\ttimestamp:float",
    numbered=False,  # 1m_1, Toy Story (1995)
)

# RecSys Challenge 2015: clicks and purchases in the sessions of a web shop, in two files. A session
# is the user, and items have the same numbers in both. The value of a purchase is its price; about
# half have price 0 and quantity 0, which means that both are unknown.
CLICKS = Layout(
    separator=",",
    fields=("user", "time", "item", "category"),
    kind="click",
    span=TimeSpan.of_days("2014-01-01", "2014-12-31"),
    time="iso_milliseconds",
)
PURCHASES = replace(
    CLICKS,
    fields=("user", "time", "item", "value", "quantity"),
    kind="purchase",
    values=(0, 1e7),
)

# Amazon Electronics, 2014: stars by reviewers. Times are the starts of days, so the events of a
# user's day are in the order of the file, which is sorted by item and not by time.
AMAZON = Layout(
    separator=",",
    fields=("user", "item", "value", "time"),
    kind="rating",
    span=TimeSpan.of_days("1995-01-01", "2014-12-31"),
    values=(1, 5),
    numbered=False,  # A2CX7LUOHB2NDG, 059400232X
)

# Gowalla's check-ins as SNAP serves them: every user's newest first, times to the second (UTC).
GOWALLA = Layout(
    separator="\t",
    fields=("user", "time", "latitude", "longitude", "item"),
    kind="check_in",
    span=TimeSpan.of_days("2008-01-01", "2011-12-31"),
    time="iso",
)

# The click sessions that ADER cut into 17 consecutive periods: YOOCHOOSE days, DIGINETICA weeks.
# Both numbers are the authors' own, and there are no times: their script sorted each period's
# clicks by time and wrote the order alone. So the time is the number of the period, from 0, times
# its length. A session that crosses a border of periods has clicks in both, and the first
# DIGINETICA file holds everything before the last 16 weeks.
PERIODS = 17
ADER = Layout(
    separator=" ",
    fields=("user", "item"),
    kind="click",
    span=TimeSpan(0, PERIODS * WEEK),
)


@dataclass(frozen=True)
class Origin:
    """The paths of a log's files, with their source and terms."""

    name: str
    paths: dict[str, Path]  # name in the catalog: path of the file
    source: str  # description of the source that served them
    license: str
    notice: str
    repair: str  # advice in errors about a damaged file

    def log(self, frame: pl.DataFrame, resolution: int = 1, **more: Any) -> EventLog:
        """Return the log of some events.

        Args:
            frame: The events, with the columns that :class:`EventLog` describes.
            resolution: The resolution of the file's times, in seconds.
            more: Further fields of the log.
        """
        return EventLog(
            name=self.name,
            frame=frame,
            time_resolution_seconds=resolution,
            source=self.source,
            license=self.license,
            notice=self.notice,
            **more,
        )


def origin_of(name: str, files: Iterable[str] | None = None) -> Origin:
    """Fetch files of a catalog entry, all if none are named, and return their origin.

    Errors are those of ``okml.data.fetch``.
    """
    served = fetched_from(name, files)
    sources = list(dict.fromkeys(found.source for found in served.values()))
    more = f" and {len(sources) - 1} more" if len(sources) > 1 else ""
    terms = entry(name).license
    return Origin(
        name=name,
        paths={file: found.path for file, found in served.items()},
        source=sources[0] + more,
        license=terms.id,
        notice=terms.notice,
        repair=repair_command(name),
    )


def load_packaged(name: str) -> EventLog:
    """Return ``ml_100k`` or ``ml_1m``, from RecBole's atomic files."""
    stem = name.replace("_", "-")
    origin = origin_of(name, [f"{stem}.inter", f"{stem}.item"])
    ratings = read_events(origin.paths[f"{stem}.inter"], ATOMIC, repair=origin.repair)
    return origin.log(
        ratings, titles=read_titles(origin.paths[f"{stem}.item"], repair=origin.repair)
    )


def load_archive(name: str) -> EventLog:
    """Return ``ml_20m`` or ``ml_25m``, read out of the archive that GroupLens publishes."""
    stem = name.replace("_", "-")
    origin = origin_of(name)
    archive, repair = origin.paths[f"{stem}.zip"], origin.repair
    ratings = read_events(archive, MOVIELENS, member=f"{stem}/ratings.csv", repair=repair)
    titles = read_titles(archive, member=f"{stem}/movies.csv", repair=repair)
    return origin.log(ratings, titles=titles)


def load_yoochoose() -> EventLog:
    """Return the clicks and purchases of the challenge's training period."""
    names = ("yoochoose-clicks.dat", "yoochoose-buys.dat")
    origin = origin_of("yoochoose", names)
    clicks, purchases = (origin.paths[name] for name in names)
    return origin.log(read_shop(clicks, purchases, repair=origin.repair))


def read_shop(clicks: Path, purchases: Path, *, repair: str = "") -> pl.DataFrame:
    """Return clicks and purchases together, ordered by their time to the millisecond.

    Unlike in other logs, the rows are not in a file's order: there are two files, and whole
    seconds would lose the order of two clicks. Events in the same millisecond keep the order of
    their file, clicks before purchases.

    Args:
        clicks: The file ``yoochoose-clicks.dat``.
        purchases: The file ``yoochoose-buys.dat``.
        repair: The advice in errors about a damaged file; a sentence.

    Raises:
        DataError: If a line is not of that form.
    """
    parts = [
        read_events(path, layout, repair=repair)
        for path, layout in ((clicks, CLICKS), (purchases, PURCHASES))
    ]
    merged = pl.concat(parts).sort("time", "millisecond", maintain_order=True)
    return merged.drop("millisecond")


def load_electronics() -> EventLog:
    """Return Amazon Electronics, 2014."""
    file = "ratings_Electronics.csv"
    origin = origin_of("amazon_electronics", [file])
    return origin.log(read_events(origin.paths[file], AMAZON, repair=origin.repair), DAY)


def load_check_ins() -> EventLog:
    """Return Gowalla with every check-in."""
    file = "loc-gowalla_totalCheckins.txt.gz"
    origin = origin_of("gowalla", [file])
    return origin.log(read_events(origin.paths[file], GOWALLA, repair=origin.repair))


def load_merged() -> EventLog:
    """Return Gowalla with one event for each user and place; see ``merge_visits``."""
    log = load_check_ins()
    return replace(
        log,
        name="gowalla_merged",
        frame=merge_visits(log.frame),
        source=f"{log.source}, one event a user and place",
    )


def merge_visits(check_ins: pl.DataFrame) -> pl.DataFrame:
    """Return one event for each user and place: the most recent check-in.

    RecBole's "merged" Gowalla, which STRec used, keeps the first row of a user and place, and the
    file lists the newest first. A sequence is then one of *last* visits: a place that a user
    returns to moves to the end.

    Args:
        check_ins: The check-ins, in any order.

    Returns:
        The remaining events in their order; ``value`` is the number of merged check-ins of each.
    """
    pair = ("user", "item")
    newest = pl.col("time") == pl.col("time").max().over(pair)
    return (
        check_ins.with_columns(value=pl.len().over(pair).cast(pl.Float32))
        .filter(newest)
        .unique(pair, keep="first", maintain_order=True)
    )


def load_ader(name: str) -> EventLog:
    """Return ``ader_yoochoose`` or ``ader_diginetica``, its periods one after the other."""
    origin = origin_of(name)
    seconds = DAY if name == "ader_yoochoose" else WEEK
    periods = [
        read_events(
            origin.paths[f"period_{period}.txt"],
            replace(ADER, time=period * seconds),
            repair=origin.repair,
        )
        for period in range(PERIODS)
    ]
    return origin.log(pl.concat(periods), seconds, clock="period")
