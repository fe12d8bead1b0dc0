"""New York Times headlines: the authors' set, and how it is built from the yearly files.

The headlines may not be redistributed; the loader reads a file that the user supplies.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import polars as pl

from okml.space_time.entities.base import EntitySet
from okml.space_time.entities.dates import fractional_year
from okml.space_time.entities.sources import RELEASE, released
from okml.space_time.entities.splits import uniform_split
from okml.space_time.entities.tables import read_csv
from okml.space_time.names import with_period

ROWS = 28_389  # of the authors' file; Table 1
# News desk and section of the articles that are kept; None: any section.
DESKS: tuple[tuple[str, str | None], ...] = (
    ("Foreign", "World"),
    ("National", "U.S."),
    ("Politics", "U.S."),
    ("Washington", "U.S."),
    ("Obits", None),
)
LAST_PAGE = 10  # of the print edition
LAST_FOREIGN_PAGE = 5
TOPICS = (
    "trump",
    "biden",
    "coronavirus",
    "covid",
    "obama",
    "clinton",
    "iraq",
    "afghanistan",
    "china",
    "iran",
)

COLUMNS: dict[str, type[pl.DataType]] = {
    "headline": pl.String,
    "pub_date": pl.Date,
    "news_desk": pl.String,
    "is_test": pl.Boolean,
}
KEPT = (
    "headline",
    "word_count",
    "pub_date",
    "print_section",
    "print_page",
    "section",
    "news_desk",
    "year",
)


def load_headline(path: Path | None = None, rows: int | None = ROWS) -> EntitySet:
    """Load the paper's Headlines set. Every headline ends with a full stop.

    Args:
        path: A CSV of the authors' form; by default ``headline.csv`` in the data cache.
        rows: How many rows it must have; None for a set of your own.

    Raises:
        DataError: If the file cannot be had or is not the expected one.
    """
    frame = read_csv(path or released("headline"), COLUMNS, rows)
    return EntitySet(
        name="headline",
        kind="time",
        frame=frame.with_columns(
            entity=pl.col("headline").map_elements(with_period, return_dtype=pl.String),
            pub_date=fractional_year("pub_date"),
            year=pl.col("pub_date").dt.year().cast(pl.Int64),
        ),
        targets=("pub_date",),
        region="year",
        entity_type="news_desk",
        split_group=None,
        source=RELEASE if path is None else path.name,
        unit="years",
    )


def build_headlines(years: Iterable[pl.DataFrame], seed: int) -> pl.DataFrame:
    """Build a table of the authors' form (Table 1 and the authors' code).

    Args:
        years: One file a year, 2010 to 2020, of the scrape by Bandy (2021):
            ``new_york_times_stories_YEAR.csv``.
        seed: Of the random fifth that is held out.
    """
    table = pl.concat([_one_year(frame) for frame in years])
    flags = {
        f"is_{topic}": pl.col("headline").str.to_lowercase().str.contains(topic, literal=True)
        for topic in TOPICS
    }
    return table.with_columns(
        **flags, is_test=pl.Series(uniform_split(table.height, seed))
    ).with_columns(headline=pl.col("headline") + ".")


def _one_year(articles: pl.DataFrame) -> pl.DataFrame:
    desk, page = pl.col("news_desk"), pl.col("print_page").cast(pl.String)
    wanted = pl.any_horizontal(
        desk == name if section is None else (desk == name) & (pl.col("section") == section)
        for name, section in DESKS
    )
    last = pl.when(desk == "Foreign").then(LAST_FOREIGN_PAGE).otherwise(LAST_PAGE)
    return (
        articles.filter(pl.col("type") == "article", wanted)
        .drop_nulls()
        .filter(
            ~pl.col("headline").str.contains("?", literal=True),
            ~pl.col("headline").str.ends_with("."),
            page.str.contains(r"^\d+(\.0)?$"),
        )
        .with_columns(print_page=page.str.strip_suffix(".0").cast(pl.Int64))
        .filter(pl.col("print_page") <= last)
        .select(KEPT)
    )
