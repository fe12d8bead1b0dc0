"""MicroLens: who commented on which short video, with titles and extracted features.

No hashes of the files are published, so the catalog, which needs one for every file, has no entry
for them: a person puts them into a data folder, and they are read unverified. Their terms forbid
the distribution of changed copies.

Interactions come in two layouts. ``*_pairs.csv`` has one row for each interaction with its time in
milliseconds; ``*_pairs.tsv``, which the authors' own experiments read, has one row for each user
with the videos in order and no times.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import polars as pl
from numpy.typing import NDArray

from okml.data.by_hand import MICROLENS, UNVOUCHED
from okml.data.logs.files import TextFile
from okml.data.logs.lines import Layout, read_events
from okml.data.logs.schema import EVENT_SCHEMA, TITLE_SCHEMA, EventLog, TimeSpan, raise_first
from okml.errors import DataError
from okml.paths import data_roots

Modality = Literal["text", "image", "video"]  # the authors extracted features of each
MicroLensName = Literal["microlens_100k", "microlens_1m"]
PAIRS_CSV = Layout(
    separator=",",
    fields=("user", "item", "time"),
    kind="comment",
    span=TimeSpan.of_days("2011-01-01", "2023-12-31"),
    header="user,item,timestamp",
    time="milliseconds",
)


def read_pairs(path: Path, *, repair: str = "") -> pl.DataFrame:
    """Return the interactions of either layout.

    Args:
        path: ``*_pairs.csv``, or ``*_pairs.tsv``, for which ``time`` is the position in a user's
            history.
        repair: The advice in errors about a damaged file; a sentence.

    Returns:
        ``EVENT_SCHEMA``; those of the csv in the order of time to the millisecond.

    Raises:
        DataError: If a line is not of the layout that the file's name promises.
    """
    if path.suffix == ".tsv":
        return _read_sequences(TextFile.open(path, repair=repair))
    frame = read_events(path, PAIRS_CSV, repair=repair)
    return frame.sort("time", "millisecond", maintain_order=True).drop("millisecond")


def _read_sequences(file: TextFile) -> pl.DataFrame:
    lines, miscounted = file.fields("\t", ("user", "items"))
    rows = file.collect(lines.with_columns(pl.col("items").str.split(" ")))
    number = pl.element().cast(pl.UInt64, strict=False)
    checks = {
        miscounted: pl.col(miscounted),
        "the user is no number": pl.col("user").cast(pl.UInt64, strict=False).is_null(),
        "an item is no number": pl.col("items").list.eval(number.is_null()).list.any(),
    }
    raise_first(rows, file, checks, first_line=1)
    places = pl.int_ranges(0, pl.col("items").list.len()).alias("time")
    events = rows.select("user", pl.col("items").alias("item"), places).explode("item", "time")
    return events.with_columns(kind=pl.lit("comment"), value=pl.lit(None)).cast(EVENT_SCHEMA)


def read_titles(path: Path, tags: Path | None = None, *, repair: str = "") -> pl.DataFrame:
    """Return the titles of the videos, with the category of each where there is such a file.

    Neither file has a header. A title may hold commas and unpaired quotes, so a line is cut at its
    first comma and at nothing else; a few titles are empty.

    Args:
        path: ``*_title*.csv``, with item and title.
        tags: ``tags_to_summary.csv``, with item and category; None without such a file.
        repair: The advice in errors about a damaged file; a sentence.

    Returns:
        ``TITLE_SCHEMA``.

    Raises:
        DataError: If a line has no comma or does not begin with a number, or a video comes twice.
    """
    titles = _read_texts(TextFile.open(path, repair=repair))
    if tags is None:
        genres = pl.lit([], dtype=pl.List(pl.String))
        return titles.select("item", pl.col("text").alias("title"), genres.alias("genres"))
    categories = _read_texts(TextFile.open(tags, repair=repair)).filter(pl.col("text") != "")
    joined = titles.join(
        categories.select("item", pl.col("text").alias("category")), on="item", how="left"
    )
    genres = pl.concat_list("category").list.drop_nulls().alias("genres")
    return joined.select("item", pl.col("text").alias("title"), genres).match_to_schema(
        TITLE_SCHEMA
    )


def _read_texts(file: TextFile) -> pl.DataFrame:
    fields = pl.col("line").str.splitn(",", 2).alias("fields")
    item, text = (pl.col("fields").struct.field(f"field_{index}") for index in range(2))
    rows = file.collect(file.lines().select(fields).select(item=item, text=text.str.strip_chars()))
    checks = {
        "it does not have 2 fields, separated by ','": pl.col("text").is_null(),
        "the item is no number": pl.col("item").cast(pl.UInt64, strict=False).is_null(),
        "a second line about a video": pl.col("item").is_first_distinct().not_(),
    }
    raise_first(rows, file, checks, first_line=1)
    return rows


def read_features(path: Path, item_ids: pl.Series, *, repair: str = "") -> NDArray[np.float32]:
    """Return the rows of a released feature array that belong to some items, ``[items, d]``.

    Args:
        path: An ``.npy`` file; item ``i`` has row ``i - 1``.
        item_ids: Original ids in the wanted order.
        repair: The advice in errors about a damaged file; a sentence.

    Raises:
        DataError: If the file is no such array, or ends before one of the items.
    """
    repair = repair or f"Get {path.name} again from {MICROLENS}."
    try:
        features = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, OverflowError) as error:
        raise DataError(f"{path} cannot be read: {error}.", repair) from error
    if not isinstance(features, np.memmap) or features.dtype.kind != "f":
        raise DataError(f"{path} is no array of numbers.", repair)
    if features.offset + features.nbytes != path.stat().st_size:
        raise DataError(f"{path} is longer than the array that it announces.", repair)
    rows = item_ids.cast(pl.Int64, strict=False).fill_null(0).to_numpy() - 1
    if features.ndim != 2 or rows.max(initial=0) >= len(features) or rows.min(initial=0) < 0:
        raise DataError(
            f"{path} has the shape {features.shape}: it has no row for each of the "
            f"{len(rows):,} items.",
            repair,
        )
    return np.asarray(features[rows], dtype=np.float32)


def load_microlens(name: MicroLensName) -> EventLog:
    """Return one size of MicroLens from a data folder, with times if ``*_pairs.csv`` exists.

    Raises:
        DataError: If files are missing; the message says which, their source, and the folder.
    """
    pairs, titles, *tags = files_of(name)
    repair = f"Get it again from {UNVOUCHED[name].url}."
    return EventLog(
        name=name,
        frame=read_pairs(pairs, repair=repair),
        time_resolution_seconds=1,
        source=f"a copy of {UNVOUCHED[name].url}{pairs.name}, whose content nobody vouches for",
        license="unstated",
        notice="MicroLens, Westlake University, which states no license and forbids passing "
        "changed copies on.",
        titles=read_titles(titles, *tags, repair=repair),
        clock="unix" if pairs.suffix == ".csv" else "order",
    )


def files_of(name: str) -> tuple[Path, ...]:
    """Return the files of one size: pairs, titles, and categories if they exist.

    Raises:
        DataError: If pairs or titles are missing.
    """
    pairs, titles = (_find(name, files) for files in UNVOUCHED[name].files[:2])
    tags = titles.with_name("tags_to_summary.csv")
    return (pairs, titles, tags) if tags.is_file() else (pairs, titles)


def load_features(name: MicroLensName, modality: str, item_ids: pl.Series) -> NDArray[np.float32]:
    """Return features that the authors extracted, ``[items, d]``.

    Args:
        name: The name of the data set.
        modality: ``text`` (BGE-M3, d = 1024), ``image`` (CLIP RN50, 1024) or ``video`` (VideoMAE,
            768).
        item_ids: Original ids in the wanted order.

    Raises:
        DataError: If there are no such features or their file is missing.
    """
    # No features of the larger release were published.
    known = dict(zip(get_args(Modality), UNVOUCHED[name].files[2:], strict=False))
    if modality not in known:
        released = ", ".join(known) or "none"
        raise DataError(f"{name} has no features of {modality!r}.", f"Released are: {released}.")
    return read_features(_find(name, known[modality]), item_ids)


def _find(name: str, files: Iterable[str]) -> Path:
    """Return the first of some files that a data folder has."""
    roots = data_roots()
    for file in files:
        for root in roots:
            if (path := root / name / file).is_file():
                return path
    raise DataError(
        f"{name} has no {' or '.join(files)} in the data folders.",
        f"It must be fetched by hand: download it from {UNVOUCHED[name].url} into "
        f"{roots[0] / name}.",
    )
