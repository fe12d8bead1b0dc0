"""Filters of the paper that several entity sets share."""

from __future__ import annotations

import polars as pl

MIN_PAGE_VIEWS = 5_000  # a page must be read more often than this in 2018-2020

WIKIPEDIA = "http://en.wikipedia.org/wiki/"


def total_page_views(monthly: pl.DataFrame) -> pl.DataFrame:
    """Sum the monthly views of each Wikipedia page over 2018, 2019 and 2020.

    Args:
        monthly: Columns ``page``, ``month`` (a date) and ``views`` (by people, not robots).

    Returns:
        Columns ``page`` and ``page_views``.
    """
    return (
        monthly.filter(pl.col("month").dt.year().is_between(2018, 2020))
        .group_by("page", maintain_order=True)
        .agg(page_views=pl.col("views").sum())
    )


def with_page_views(frame: pl.DataFrame, views: pl.DataFrame) -> pl.DataFrame:
    """Add ``page`` and ``page_views`` by the column ``wikipedia`` and keep what is read enough."""
    page = pl.col("wikipedia").str.strip_prefix(WIKIPEDIA)
    return (
        frame.with_columns(page=page)
        .join(views, on="page", how="left", maintain_order="left")
        .filter(pl.col("page_views") > MIN_PAGE_VIEWS)
        .drop("wikipedia")
    )


def most_specific(frame: pl.DataFrame) -> pl.DataFrame:
    """Keep one row a name: the one whose ``type`` is the rarest in ``frame``.

    A knowledge base lists an entity once for each class it belongs to, and the rarest class
    says most. Ties go to the row that comes first.
    """
    return (
        frame.with_row_index("_row")
        .with_columns(_count=pl.len().over("type"))
        .sort("_count", "_row")
        .unique("name", keep="first", maintain_order=True)
        .sort("_row")
        .drop("_row", "_count")
    )


def unambiguous(frame: pl.DataFrame, name: str, size: str, ratio: float = 2.0) -> pl.DataFrame:
    """Keep a name's largest bearer if it is over ``ratio`` times the next; else drop the name.

    "Paris" then means the one in France. A bearer of unknown size cannot be shown to dominate.
    """
    sizes = pl.col(size).sort(descending=True, nulls_last=True)
    largest = sizes.first().over(name)
    second = sizes.get(1, null_on_oob=True).over(name)
    alone = pl.len().over(name) == 1
    dominates = ((pl.col(size) == largest) & (largest > ratio * second)).fill_null(value=False)
    return frame.filter(alone | dominates)


def five_digits(column: str) -> pl.Expr:
    """Return a column of ZIP codes as text with leading zeros: 501 is "00501"."""
    return pl.col(column).cast(pl.String).str.strip_chars().str.zfill(5)


def last_part(uri: str) -> pl.Expr:
    """Return the last path component of a column of URIs."""
    return pl.col(uri).str.split("/").list.last()
