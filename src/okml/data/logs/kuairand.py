"""KuaiRand: what Kuaishou showed in four weeks of 2022, partly at random, and what users did.

Three sizes of one form: `pure` (only the 7,583 videos that random slots were filled from), `1k`
(1,000 users with all they saw) and `27k` (everything). Each has logs of the service's policy in
two periods, and one of the slots with random videos in the second period. The random log overlaps
the second period, so a user's true order is that of ``time_ms`` over all files.

The release also has monthly averages of each video (``video_features_statistic``). They include
the days of a test set, so they are not read.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import polars as pl

from okml.data.archives import extract_tar_members
from okml.data.cache import exclusive
from okml.data.catalog import entry
from okml.data.errors import SourceError
from okml.data.logs.files import TextFile
from okml.data.logs.impressions import IMPRESSION_SCHEMA, VIDEO_SCHEMA, ImpressionLog
from okml.data.logs.readers import origin_of
from okml.data.logs.schema import TimeSpan, raise_first
from okml.data.progress import waiting
from okml.errors import DataError
from okml.paths import data_roots

KuaiRandName = Literal["kuairand_pure", "kuairand_1k", "kuairand_27k"]

# The columns of a log in their order with our names; columns with empty names are not read.
COLUMNS = {
    "user_id": "user",
    "video_id": "item",
    "date": "",
    "hourmin": "",
    "time_ms": "time_ms",
    "is_click": "click",
    "is_like": "like",
    "is_follow": "follow",
    "is_comment": "comment",
    "is_forward": "forward",
    "is_hate": "hate",
    "long_view": "long_view",
    "play_time_ms": "play_ms",
    "duration_ms": "duration_ms",
    "profile_stay_time": "",
    "comment_stay_time": "",
    "is_profile_enter": "",
    "is_rand": "random",
    "tab": "surface",
}
LOG_HEADER = ",".join(COLUMNS)
VIDEO_HEADER = (
    "video_id,author_id,video_type,upload_dt,upload_type,visible_status,video_duration,"
    "server_width,server_height,music_id,music_type,tag"
)
# 8 April to 8 May 2022 in Beijing, which is eight hours before UTC.
SPAN = TimeSpan.of_days("2022-04-07", "2022-05-08")


def read_impressions(path: Path, *, repair: str = "") -> pl.DataFrame:
    """Return the impressions of one ``log_*.csv``, in its order.

    Args:
        path: The path of the log.
        repair: The advice in errors about a damaged file; a sentence.

    Raises:
        DataError: If the header is another one, or a line is not of that form.
    """
    file = TextFile.open(path, repair=repair)
    lines, miscounted = file.fields(",", COLUMNS, header=LOG_HEADER)
    read: dict[str, pl.Expr] = {miscounted: pl.col(miscounted)}
    for written, column in COLUMNS.items():
        if column:
            text, kind = pl.col(written), IMPRESSION_SCHEMA[column]
            read[column] = (
                text.cast(kind, strict=False)
                if kind != pl.Boolean()
                else (text.replace_strict({"0": False, "1": True}, default=None))
            )
    frame = file.collect(lines.select(**read))
    if frame.is_empty():
        raise DataError(f"{file.name} has no impressions.", file.repair)
    first, last_ms = 1000 * SPAN.first, 1000 * SPAN.last + 999
    raise_first(
        frame,
        file,
        {
            miscounted: pl.col(miscounted),
            **{f"{name} is missing or cannot be read": pl.col(name).is_null()
               for name in IMPRESSION_SCHEMA},
            "time_ms is impossible, it must lie in 2022-04-07 to 2022-05-08":
                ~pl.col("time_ms").is_between(first, last_ms),
            "a time watched or a length is negative":
                (pl.col("play_ms") < 0) | (pl.col("duration_ms") < 0),
        },
        first_line=2,
    )  # fmt: skip
    return frame.select(IMPRESSION_SCHEMA.names())


def join_logs(logs: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """Return the impressions of several files in order of time; ties keep the files' order."""
    return pl.concat(logs).sort("time_ms", maintain_order=True)


def read_videos(path: Path, *, repair: str = "") -> pl.DataFrame:
    """Return the features of videos in ``video_features_basic_*.csv``.

    Args:
        path: The path of the table.
        repair: The advice in errors about a damaged file; a sentence.

    Raises:
        DataError: If the header is another one, a line is not of that form, or a video comes twice.
    """
    file = TextFile.open(path, repair=repair)
    file.require_header(VIDEO_HEADER)
    names = VIDEO_HEADER.split(",")
    try:
        text = pl.read_csv(file.source, schema=dict.fromkeys(names, pl.String()), glob=False)
    except pl.exceptions.PolarsError as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{file.name} is not whole: {reason}.", file.repair) from error
    frame = text.select(
        pl.col("video_id").cast(pl.UInt32, strict=False).alias("item"),
        _number("author_id").alias("author"),
        (pl.col("video_type") == "AD").alias("advertisement"),
        pl.col("upload_dt").str.to_date("%Y-%m-%d", strict=False).alias("uploaded"),
        _number("video_duration").alias("duration_ms"),
        pl.col("tag").str.split(",").alias("tags"),
    )
    if frame.is_empty():
        raise DataError(f"{file.name} has no videos.", file.repair)
    raise_first(
        frame,
        file,
        {
            "the video is no number": pl.col("item").is_null(),
            "a second line about a video": pl.col("item").is_first_distinct().not_(),
            # Numbers are written as 17200.0 here, and missing ones as nothing.
            "a field cannot be read": _unread(text, frame),
            "the length is negative": pl.col("duration_ms") < 0,
        },
        first_line=2,
    )
    return frame.match_to_schema(VIDEO_SCHEMA)


def _number(column: str) -> pl.Expr:
    """Return a column as integers; missing values, NaN and infinity become null."""
    return pl.col(column).cast(pl.Float64, strict=False).cast(pl.Int64, strict=False)


def _unread(text: pl.DataFrame, frame: pl.DataFrame) -> pl.Expr:
    """Return whether a row has a non-empty field that could not be parsed."""
    pairs = {"author_id": "author", "upload_dt": "uploaded", "video_duration": "duration_ms"}
    bad = pl.Series([False]).new_from_index(0, len(frame))
    for written, found in pairs.items():
        bad |= text[written].is_not_null() & frame[found].is_null()
    return pl.lit(bad)


def load_kuairand(name: KuaiRandName) -> ImpressionLog:
    """Return one size of KuaiRand: all logs in one order of time, and the basic features."""
    size = name.removeprefix("kuairand_")
    parts = ("_part1", "_part2") if size == "27k" else ("",)
    periods = ("log_standard_4_08_to_4_21", "log_standard_4_22_to_5_08")
    logs = [f"{period}_{size}{part}.csv" for period in periods for part in parts]
    logs.append(f"log_random_4_22_to_5_08_{size}.csv")
    videos = f"video_features_basic_{size}.csv"
    origin = origin_of(name)
    (path,) = origin.paths.values()
    folder = f"{path.name.removesuffix('.tar.gz')}/data"
    files = unpacked(
        name, path, [f"{folder}/{file}" for file in (*logs, videos)], repair=origin.repair
    )
    return ImpressionLog(
        name=name,
        frame=join_logs(read_impressions(files[log], repair=origin.repair) for log in logs),
        videos=read_videos(files[videos], repair=origin.repair),
        source=origin.source,
        license=origin.license,
        notice=origin.notice,
    )


def unpacked(name: str, archive: Path, members: Iterable[str], *, repair: str) -> dict[str, Path]:
    """Return files of a verified tar archive by name, unpacking the missing ones.

    They lie in the cache, in a folder named after the archive's hash, so that versions of the
    archive are kept apart. Each file is unpacked atomically.

    Args:
        name: The entry of the catalog, whose only file is the archive.
        archive: The path of the archive.
        members: Paths inside the archive.
        repair: The advice in errors about a damaged file; a sentence.

    Raises:
        DataError: If a member is missing, or the archive cannot be read.
    """
    cache = data_roots()[0]
    (file,) = entry(name).files
    folder = cache / entry(name).folder / f"unpacked-{file.digest.value[:16]}"
    paths = {member: folder / Path(member).name for member in members}
    if _missing(paths):
        with exclusive(name, cache):
            if missing := _missing(paths):  # another process may have unpacked them meanwhile
                _unpack(archive, missing, repair)
    return {path.name: path for path in paths.values()}


def _unpack(archive: Path, missing: dict[str, Path], repair: str) -> None:
    """Unpack members of an archive to their paths, each atomically."""
    parts = {member: path.with_suffix(".part") for member, path in missing.items()}
    for path in parts.values():
        path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with waiting(f"unpacking {len(parts)} files of {archive.name}"):
            extract_tar_members(archive, parts)
    except SourceError as error:
        raise DataError(f"{archive} cannot be unpacked: {error.reason}.", repair) from error
    for member, part in parts.items():
        part.replace(missing[member])


def _missing(paths: dict[str, Path]) -> dict[str, Path]:
    return {member: path for member, path in paths.items() if not path.is_file()}
