"""Songs, films and books: the released set, and how it is built from DBpedia."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from okml.space_time.entities.base import EntitySet
from okml.space_time.entities.dates import decade, fractional_year
from okml.space_time.entities.filters import with_page_views
from okml.space_time.entities.sources import RELEASE, released
from okml.space_time.entities.splits import group_split
from okml.space_time.entities.tables import read_csv
from okml.space_time.names import clean_title, creation

ROWS = 31_321  # of the released file; Table 1
AFTER_YEAR = 1949
MIN_TITLE_LENGTH = 2  # characters

COLUMNS: dict[str, type[pl.DataType]] = {
    "title": pl.String,
    "creator": pl.String,
    "release_date": pl.Date,
    "page_views": pl.Float64,
    "entity_type": pl.String,
    "is_test": pl.Boolean,
}

# One page of one kind of work; see `world.DBPEDIA_QUERY` for how to page through the results.
DBPEDIA_CLASSES = {
    "book": ("Book", "author"),
    "movie": ("Film", "director"),
    "song": ("Song", "artist"),
}
DBPEDIA_QUERY = """
PREFIX dbo: <http://dbpedia.org/ontology/>
PREFIX foaf: <http://xmlns.com/foaf/0.1/>
PREFIX rdfs: <http://www.w3.org/2000/01/rdf-schema#>
SELECT ?title ?creator ?release_date ?wikipedia
WHERE {{
  ?work a dbo:{work_class} ; foaf:name ?title ; dbo:{role} ?maker ;
        dbo:releaseDate ?release_date ; foaf:isPrimaryTopicOf ?wikipedia .
  ?maker rdfs:label ?creator .
  FILTER (LANG(?title) = "en" && LANG(?creator) = "en")
}}
ORDER BY ?work LIMIT 5000 OFFSET {offset}
"""


def load_art(
    path: Path | None = None, rows: int | None = ROWS, *, unique_titles: bool = False
) -> EntitySet:
    """Load the paper's Art set; a creator never straddles the split.

    Args:
        path: A CSV of the released form; by default the released file itself.
        rows: How many rows it must have; None for a set of your own.
        unique_titles: Keep only titles that occur once, in any capitals. A quarter of the test
            titles also occur in training under another creator, many of them cover versions.

    Raises:
        DataError: If the file cannot be had or is not the expected one.
    """
    frame = read_csv(path or released("art"), COLUMNS, rows)
    entity = pl.struct("creator", "title").map_elements(
        lambda work: creation(work["creator"], work["title"]), return_dtype=pl.String
    )
    works = EntitySet(
        name="art_unique_titles" if unique_titles else "art",
        kind="time",
        frame=frame.with_columns(
            entity=entity,
            release_date=fractional_year("release_date"),
            decade=decade("release_date"),
        ),
        targets=("release_date",),
        region="decade",
        entity_type="entity_type",
        split_group="creator",
        source=RELEASE if path is None else path.name,
        unit="years",
    )
    alone = pl.len().over(pl.col("title").str.to_lowercase()) == 1
    return works.filter(alone) if unique_titles else works


def build_art(works: dict[str, pl.DataFrame], views: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Build a table of the released form (Table 1 and the authors' code).

    Of works with the same title and creator the earliest counts; the most read come first.

    Args:
        works: Results of ``DBPEDIA_QUERY`` by entity type, a key of ``DBPEDIA_CLASSES``.
        views: Columns ``page`` and ``page_views``, as ``total_page_views`` returns them.
        seed: Of the random fifth of the creators that is held out.
    """
    parts = [
        _one_kind(frame, views).with_columns(entity_type=pl.lit(entity_type))
        for entity_type, frame in works.items()
    ]
    table = (
        pl.concat(parts)
        .with_columns(title=pl.col("title").map_elements(clean_title, return_dtype=pl.String))
        .filter(pl.col("title").str.len_chars() >= MIN_TITLE_LENGTH)
    )
    return table.with_columns(
        decade=decade("release_date"),
        is_test=pl.Series(group_split(table["creator"], seed)),
    )


def _one_kind(frame: pl.DataFrame, views: pl.DataFrame) -> pl.DataFrame:
    earliest = (
        frame.with_columns(pl.col("release_date").str.to_date("%Y-%m-%d", strict=False))
        .filter(pl.col("release_date").dt.year() > AFTER_YEAR)
        .sort("release_date", maintain_order=True)
        .unique(["title", "creator"], keep="first", maintain_order=True)
    )
    return (
        with_page_views(earliest, views)
        .rename({"page": "page_name"})
        .drop_nulls(["title", "creator"])
        .sort("page_views", descending=True, maintain_order=True)
    )
