"""The films of MovieLens: title with year, and genres."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from okml.data.logs.files import TextFile
from okml.data.logs.schema import TITLE_SCHEMA
from okml.errors import DataError

# The genres in the order of MovieLens-100K's u.genre.
U_ITEM_GENRES = (
    *("unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime"),
    *("Documentary", "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance"),
    *("Sci-Fi", "Thriller", "War", "Western"),
)
NO_GENRES = ("", "(no genres listed)", "unknown")
MOVIES_CSV = "movieId,title,genres"  # the header of GroupLens's table
ATOMIC = "item_id:token\tmovie_title:token"  # the start of the header of RecBole's


def read_titles(path: Path, *, member: str = "", repair: str = "") -> pl.DataFrame:
    """Return the films of a file, ``TITLE_SCHEMA``, in its order.

    Args:
        path: RecBole's ``.item``, or a zip archive with GroupLens's ``movies.csv``.
        member: The file inside the archive; empty for RecBole's.
        repair: The advice in errors about a damaged file; a sentence.

    Raises:
        DataError: If a line is not of that form, or two lines are about one film.
    """
    file = TextFile.open(path, member=member, repair=repair)
    packaged = path.suffix == ".item"
    films: dict[str, tuple[str, str, list[str]]] = {}
    for line, fields in _rows(file, ATOMIC if packaged else MOVIES_CSV):
        count = 4 if packaged else 3
        if len(fields) != count:
            raise file.bad_line(line, f"it does not have {count} fields")
        item, title, *year, genres = fields
        if not (item and title):
            raise file.bad_line(line, "the film's id or title is missing")
        if not packaged and not item.isdecimal():
            raise file.bad_line(line, "the film's id is no number")
        if item in films:
            raise file.bad_line(line, f"a second line about the film {item!r}")
        if packaged and year[0].isdigit():
            title = f"{title} ({year[0]})"
        named = genres.split(" " if packaged else "|")
        films[item] = (item, title, [genre for genre in named if genre not in NO_GENRES])
    if not films:
        raise DataError(f"{file.name} has no films.", file.repair)
    return pl.DataFrame(list(films.values()), schema=TITLE_SCHEMA, orient="row")


def _rows(file: TextFile, header: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the number and the fields of every line after a header that begins as ``header``."""
    first, *lines = file.collect(file.lines())["line"].to_list()
    if not first.startswith(header):
        raise DataError(
            f"{file.name} begins with {first[:120]!r} instead of {header!r}: it is another "
            "file or of another data set.",
            file.repair,
        )
    for number, line in enumerate(lines, start=2):
        if header == ATOMIC:
            yield number, line.split("\t")
            continue
        # Parse line by line: no title holds a line break, so an unclosed quote stays local.
        try:
            yield number, next(csv.reader(io.StringIO(line)), [])
        except csv.Error as error:
            raise file.bad_line(number, str(error)) from None
