"""Reading the tables that entity sets come from, with errors that name the file and the remedy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from okml.data import fetch
from okml.data.logs.files import TextFile
from okml.errors import DataError

Columns = Mapping[str, type[pl.DataType]]  # the type of each column

_AGAIN = "Delete the file and fetch it again (`okml data fetch`), or pass the right path."

LARGEST = 1e12  # larger numbers are errors of the file
LONGEST_SHOWN = 120  # characters of a wrong value that a message repeats
_SIDES = {"true": True, "false": False}


def packaged(data_set: str, file: str) -> Path:
    """Return one file of a data set in the catalog.

    Raises:
        DataError: If it cannot be had.
    """
    return fetch(data_set, [file])[file]


def shortened(text: str) -> str:
    """Return a text for a message, cut where it is long."""
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"


def lines_of(path: Path) -> list[str]:
    """Return the lines of a text file.

    Raises:
        DataError: If it is missing, cut, no UTF-8 text, or a web page.
    """
    file = TextFile.open(path, repair=_AGAIN)
    return file.collect(file.lines())["line"].to_list()


def read_csv(path: Path, columns: Columns) -> pl.DataFrame:
    """Read the named columns of a CSV file and check that it is the expected one.

    Args:
        path: The path of the file.
        columns: Name and type of every column that must be there; others are left out.
            ``is_test`` may say True or False in any capitals.

    Raises:
        DataError: If the file is missing, is no CSV, lacks a column or has a value of the wrong
            type.
    """
    if not path.is_file():
        raise DataError(
            f"{path} does not exist.", "Fetch it (`okml data fetch`), or pass its path."
        )
    try:
        # Text first: a value of the wrong type is then reported with its column and its row.
        table = pl.read_csv(path, infer_schema=False)
        whole = path.read_bytes().endswith(b"\n")
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = shortened(str(error).splitlines()[0])
        raise DataError(f"{path} cannot be read as CSV: {reason}", _AGAIN) from None
    if not whole:
        raise DataError(f"{path} breaks off in the middle of its last line.", _AGAIN)
    if table.is_empty():
        raise DataError(f"{path} has no rows.", _AGAIN)
    if missing := [name for name in columns if name not in table.columns]:
        raise DataError(
            f"{path} lacks the columns {', '.join(missing)}; it has "
            f"{shortened(', '.join(table.columns))}.",
            _AGAIN,
        )
    return pl.DataFrame([_typed(table[name], kind, path) for name, kind in columns.items()])


def _typed(text: pl.Series, kind: type[pl.DataType], path: Path) -> pl.Series:
    if kind == pl.Boolean:
        typed = text.str.to_lowercase().replace_strict(_SIDES, default=None, return_dtype=kind)
    elif kind == pl.Date:
        # Some dates carry a time of day; the day is precise enough for a target in years.
        typed = text.str.head(10).str.to_date("%Y-%m-%d", strict=False)
    else:
        typed = text.cast(kind, strict=False)
    if kind == pl.Float64:  # NaN, infinity and what no coordinate, year or population can be
        typed = pl.select(pl.when(typed.abs() <= LARGEST).then(typed)).to_series().rename(text.name)
    # Other columns may have gaps; a row without a side of the split is an error.
    bad = typed.is_null() & (text.is_not_null() | (kind == pl.Boolean))
    if bad.any():
        row = int(bad.arg_true()[0])
        raise DataError(
            f"{path}: column {text.name} of row {row + 1} is {shortened(str(text[row]))!r}, "
            f"which is no {kind.__name__}.",
            _AGAIN,
        )
    return typed
