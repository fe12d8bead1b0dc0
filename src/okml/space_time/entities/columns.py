"""Columns that entity sets derive: dates as numbers, unambiguous names, sides of the split."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

DAYS_PER_YEAR = 365.25
EPOCH = 1970.0
TEST_SHARE = 0.2  # the share of test rows in every set of the paper


def fractional_year(date: str) -> pl.Expr:
    """Return ``1970 + days since 1970-01-01 / 365.25`` of a column of dates.

    The authors count from 1970. The offset puts axes in calendar years and changes no score,
    because targets are standardized before they are fitted.
    """
    return EPOCH + pl.col(date).cast(pl.Date).to_physical() / DAYS_PER_YEAR


def decade(date: str) -> pl.Expr:
    """Return the first year of the decade of a column of dates."""
    return pl.col(date).dt.year().cast(pl.Int64) // 10 * 10


def century(year: str) -> pl.Expr:
    """Return the first year of the century: 1616 is of 1600, and -44 of -100."""
    return 100 * (pl.col(year) / 100).floor().cast(pl.Int64)


def five_digits(column: str) -> pl.Expr:
    """Return a column of ZIP codes as text with leading zeros: 501 is "00501"."""
    return pl.col(column).cast(pl.String).str.strip_chars().str.zfill(5)


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


def uniform_split(n: int, seed: int, share: float = TEST_SHARE) -> npt.NDArray[np.bool_]:
    """Put ``floor(share * n)`` of ``n`` rows on the test side, at random.

    Returns:
        Whether each row is for testing, ``[n]``.
    """
    is_test = np.zeros(n, dtype=bool)
    rng = np.random.default_rng(seed)
    is_test[rng.choice(n, int(n * share), replace=False)] = True
    return is_test


def group_split(groups: pl.Series, seed: int, share: float = TEST_SHARE) -> npt.NDArray[np.bool_]:
    """Put a ``share`` of the distinct ``groups`` with all their rows on the test side.

    The share is of groups, as in the paper; the share of rows comes close where groups are
    many and small. A null is no group and stays on the training side.

    Returns:
        Whether each row is for testing, ``[n]``.
    """
    distinct = groups.drop_nulls().unique(maintain_order=True)
    chosen = distinct.filter(pl.Series(uniform_split(len(distinct), seed, share), dtype=pl.Boolean))
    return groups.is_in(chosen.implode()).fill_null(value=False).to_numpy()
