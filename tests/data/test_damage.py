"""What became of a file before it is read: one message that names it, or the right rows."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pytest

from okml.errors import DataError
from okml.space_time.entities.released import COLUMNS
from tests.data.damage import DAMAGES, PLACES, put, samples

# Damages that no file survives. Others may leave a file of the same form: with a line less, or with
# another word in a title, which the hash of the catalog tells and nothing else.
FATAL = {
    "empty", "a line end alone", "random bytes", "a web page", "a Git LFS pointer",
    "nested too deeply", "a list of JSON", "an object of JSON", "a value of another type",
    "a field of another name", "null", "compressed", "a zip archive", *PLACES,
}  # fmt: skip
HAS_FEWER_LINES = {"the first line alone", "cut in the middle"}
# Files of which lines with a date, or with every field, are picked; others say nothing.
PICKED = {"events", "people", "towns"}
DRAWN = "is_test"  # anew for other rows
# Files whose users or items have letters.
LETTERED = {"amazon", "movielens .inter", "films .item"}

# Files that one function reads, by a description of their fields.
ALIKE = (
    ("amazon", "gowalla", "ader", "movielens .csv", "movielens .inter"),
    tuple(COLUMNS),
)


EVERY = 3  # of the damages to a file is tried each time, and each damage to a third of the files


def is_tried(name: str, number: int) -> bool:
    """Tell whether a damage is tried each time: on one of the files that are read alike."""
    alike = next((names for names in ALIKE if name in names), None)
    if alike is not None:
        return alike[number % len(alike)] == name
    return (number + [*samples()].index(name)) % EVERY == 0


# numpy lets an error of the tokenizer out of a damaged header, which the reader of MicroLens does
# not know. To change the reader would make the records of the workshop stale.
UNREAD = pytest.mark.xfail(
    sys.version_info >= (3, 12), reason="an error of Python's tokenizer", strict=True
)


def marks_of(name: str, damage: str, number: int) -> list[pytest.MarkDecorator]:
    """Return the marks of a case."""
    marks = [] if is_tried(name, number) else [pytest.mark.nightly]
    return [*marks, UNREAD] if (name, damage) == ("microlens features", "no number") else marks


CASES = [
    pytest.param(name, damage, marks=marks_of(name, damage, number))
    for name, whole in samples().items()
    for number, damage in enumerate((*DAMAGES, *PLACES))
    if damage in PLACES or DAMAGES[damage](whole.content) != whole.content
]


def is_free_text(column: str, kind: pl.DataType, name: str) -> bool:
    text = kind in (pl.String, pl.List(pl.String))
    return text and (column not in ("user", "item") or name in LETTERED)


@cache
def undamaged(name: str) -> pl.DataFrame:
    """Return what is in a whole file."""
    with TemporaryDirectory() as folder:
        return samples()[name].read(put(samples()[name], None, Path(folder)))


@pytest.mark.parametrize("name", samples())
def test_a_whole_file_is_read(name: str) -> None:
    assert undamaged(name).height > 0


@pytest.mark.parametrize(("name", "damage"), CASES)
def test_a_damaged_file_is_named_or_read_rightly(name: str, damage: str, tmp_path: Path) -> None:
    whole, expected = samples()[name], undamaged(name)
    path = put(whole, damage, tmp_path)
    error, found = None, expected
    try:
        found = whole.read(path)
    except DataError as caught:
        error = caught
    if error is not None:
        assert path.name in error.message
        assert len(error.message) < 1_000
        return
    assert damage not in FATAL
    assert found.schema == expected.schema
    if found.height == expected.height:
        changed = [name for name in found.columns if not found[name].equals(expected[name])]
        assert all(is_free_text(column, found.schema[column], name) for column in changed)
    elif found.height > expected.height:
        assert damage == "a line twice"
        assert found.drop(DRAWN, strict=False).unique().height == expected.height
    else:
        assert damage in HAS_FEWER_LINES or name in PICKED
        kept = [frame.drop(DRAWN, strict=False) for frame in (found, expected)]
        assert kept[0].join(kept[1], on=kept[0].columns, how="anti", nulls_equal=True).is_empty()
