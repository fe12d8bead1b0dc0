"""Dates as numbers."""

from __future__ import annotations

import polars as pl

DAYS_PER_YEAR = 365.25
EPOCH = 1970.0


def fractional_year(date: str) -> pl.Expr:
    """Return ``1970 + days since 1970-01-01 / 365.25`` of a column of dates.

    The authors count from 1970. The offset puts axes in calendar years and changes no score,
    because targets are standardized before they are fitted.
    """
    return EPOCH + pl.col(date).cast(pl.Date).to_physical() / DAYS_PER_YEAR


def decade(date: str) -> pl.Expr:
    """Return the first year of the decade of a column of dates."""
    return pl.col(date).dt.year().cast(pl.Int64) // 10 * 10
