"""The films of MovieLens: title with year, and genres."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from okml.data.logs.files import TextFile
from okml.data.logs.schema import TITLE_SCHEMA
from okml.errors import DataError, ParameterError

# The columns of u.item after the first five, in their order (its u.genre).
U_ITEM_GENRES = (
    *("unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime"),
    *("Documentary", "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance"),
    *("Sci-Fi", "Thriller", "War", "Western"),
)
NO_GENRES = ("(no genres listed)", "unknown")

Film = tuple[str, str, list[str]]  # item, title, genres


@dataclass(frozen=True)
class _Format:
    separator: str
    fields: int
    film: Callable[[list[str]], Film]
    encoding: str = "utf-8"
    header: str = ""  # the start of the header line; empty for a file without header
    quoted: bool = False
    numbered: bool = True  # whether films have numbers


def _from_bars(fields: list[str]) -> Film:
    item, title, genres = fields
    return item, title, genres.split("|")


def _from_flags(fields: list[str]) -> Film:
    flags = fields[5:]
    return fields[0], fields[1], [g for g, f in zip(U_ITEM_GENRES, flags, strict=True) if f == "1"]


def _from_atomic(fields: list[str]) -> Film:
    item, title, year, genres = fields
    return item, f"{title} ({year})" if year.isdigit() else title, genres.split(" ")


FORMATS = {
    "u.item": _Format("|", 24, _from_flags, encoding="latin-1"),
    "movies.dat": _Format("::", 3, _from_bars, encoding="latin-1"),
    "movies.csv": _Format(",", 3, _from_bars, header="movieId,title,genres", quoted=True),
    ".item": _Format(
        "\t", 4, _from_atomic, header="item_id:token\tmovie_title:token", numbered=False
    ),
}


def read_titles(path: Path, *, member: str = "", repair: str = "") -> pl.DataFrame:
    """Return the films of a file, ``TITLE_SCHEMA``, in its order.

    Args:
        path: ``u.item``, ``movies.dat``, ``movies.csv``, RecBole's ``.item``, or a zip archive.
        member: The file inside the archive.
        repair: The advice in errors about a damaged file; a sentence.

    Raises:
        ParameterError: If the name is none of these.
        DataError: If a line is not of that form, or two lines are about one film.
    """
    name = Path(member or path)
    form = FORMATS.get(name.name) or FORMATS.get(name.suffix)
    if form is None:
        raise ParameterError(
            f"{name.name} is no file of MovieLens films.", f"Known: {', '.join(FORMATS)}."
        )
    file = TextFile.open(path, member=member, encoding=form.encoding, repair=repair)
    films: dict[str, Film] = {}
    for line, fields in _rows(file, form):
        if len(fields) != form.fields:
            raise file.bad_line(line, f"it does not have {form.fields} fields")
        item, title, genres = form.film(fields)
        if not (item and title):
            raise file.bad_line(line, "the film's id or title is missing")
        if form.numbered and not item.isdecimal():
            raise file.bad_line(line, "the film's id is no number")
        if item in films:
            raise file.bad_line(line, f"a second line about the film {item!r}")
        films[item] = (item, title, [genre for genre in genres if genre not in ("", *NO_GENRES)])
    if not films:
        raise DataError(f"{file.name} has no films.", file.repair)
    return pl.DataFrame(list(films.values()), schema=TITLE_SCHEMA, orient="row")


def _rows(file: TextFile, form: _Format) -> Iterator[tuple[int, list[str]]]:
    """Yield the number and the fields of every line but the header."""
    lines = file.collect(file.lines())["line"].to_list()
    if form.header and not lines[0].startswith(form.header):
        raise DataError(
            f"{file.name} begins with {lines[0][:120]!r} instead of {form.header!r}: it is another "
            "file or of another data set.",
            file.repair,
        )
    for number, line in enumerate(lines, start=1):
        if number == 1 and form.header:
            continue
        if form.quoted:
            # Parse line by line: no title holds a line break, so an unclosed quote stays local.
            try:
                yield number, next(csv.reader(io.StringIO(line)), [])
            except csv.Error as error:
                raise file.bad_line(number, str(error)) from None
        else:
            yield number, line.split(form.separator)
