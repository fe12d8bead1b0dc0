from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from okml.space_time.dictionary import entries
from okml.space_time.entities.wordnet import read_synsets

PEOPLE = Path(__file__).parent / "fixtures" / "data.noun"
THINGS = """20000001 06 n 01 spoon 0 001 @ 00000009 n 0000 | a piece of cutlery
20000002 06 n 01 Excalibur 0 001 @i 20000001 n 0000 | the sword of King Arthur
"""


@pytest.fixture(autouse=True)
def wordnet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "data.noun"
    path.write_text(PEOPLE.read_text(encoding="utf-8") + THINGS, encoding="utf-8")
    monkeypatch.setattr("okml.space_time.dictionary.read_synsets", partial(read_synsets, path))


def test_entries_say_where_or_when_or_neither() -> None:
    assert entries("space", 10) == ["Troy: a city (1700-1750)"]  # not what a city is
    assert entries("neither", 10) == ["spoon: a piece of cutlery"]
    # Not Virgil, whose years are before ours.
    assert {entry.split(":")[0] for entry in entries("time", 10)} == {
        "Aalto", "Basho", "Johnson", "Chaucer", "Smith", "Keats"
    }  # fmt: skip


def test_fewer_entries_are_the_first_of_more() -> None:
    assert entries("time", 2) == entries("time", 10)[:2]
