"""Films of a Wikidata snapshot: a stand-in for the Art set."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import polars as pl

from okml.errors import DataError
from okml.space_time.entities.base import EntitySet
from okml.space_time.entities.columns import group_split
from okml.space_time.entities.tables import packaged
from okml.space_time.names import clean_title, creation

SOURCE = "Wikidata films (CC0), from the package bokeh-sampledata"
SPLIT_SEED = 0
QUERY = "SELECT Title, Year, Director, Genre FROM omdb ORDER BY ID"
SCHEMA: dict[str, type[pl.DataType]] = {
    "title": pl.String,
    "release_year": pl.Int64,
    "creator": pl.String,
    "genre": pl.String,
}


def load_films(path: Path | None = None) -> EntitySet:
    """Load films of one director each as "Director's Title"; a director never straddles the split.

    Titles that several films share are left out.

    Args:
        path: ``movies.db``; by default the one in the data cache.

    Raises:
        DataError: If the file cannot be had or is not the expected one.
    """
    films = _read(path or packaged("bokeh_movies", "movies.db"))
    one_director = (pl.col("creator") != "") & ~pl.col("creator").str.contains(",")
    frame = (
        films.drop_nulls(["title", "creator", "release_year"])
        .with_columns(pl.col("title").map_elements(clean_title, return_dtype=pl.String))
        .filter(pl.col("title") != "")
        .filter(pl.len().over(pl.col("title").str.to_lowercase()) == 1)
        .filter(one_director)
    )
    return EntitySet(
        name="films",
        kind="time",
        frame=frame.with_columns(
            entity=pl.struct("creator", "title").map_elements(
                lambda film: creation(film["creator"], film["title"]), return_dtype=pl.String
            ),
            decade=pl.col("release_year") // 10 * 10,
            # The first of several genres, in alphabetical order, as the source lists them.
            genre=pl.col("genre").replace("", None).str.split(", ").list.first(),
            is_test=pl.Series(group_split(frame["creator"], SPLIT_SEED)),
        ),
        targets=("release_year",),
        region="decade",
        entity_type="genre",
        split_group="creator",
        source=SOURCE,
    )


def _read(path: Path) -> pl.DataFrame:
    if not path.is_file():
        raise DataError(
            f"{path} does not exist.", "Fetch it (`okml data fetch`), or pass its path."
        )
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
    try:
        (state,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if state != "ok":
            raise sqlite3.DatabaseError(state.replace("\n", " "))
        rows = connection.execute(QUERY).fetchall()
    except (sqlite3.DatabaseError, OverflowError) as error:
        raise DataError(
            f"{path} is not the database of films: {error}.", "Fetch it again (`okml data fetch`)."
        ) from None
    finally:
        connection.close()
    if not rows:
        raise DataError(f"{path} has no films.", "Fetch it again (`okml data fetch`).")
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")
