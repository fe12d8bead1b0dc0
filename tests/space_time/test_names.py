from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from okml.space_time import names

# Letters, digits and the punctuation that the rules look at.
text = st.text(alphabet="abzAZé09 ,()'\".-&", max_size=30)
words = st.lists(st.text(alphabet="abzAZ09'&.-", min_size=1, max_size=8), min_size=1, max_size=5)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Dallas County, Iowa", "Iowa's Dallas County"),
        ("Springfield (Illinois)", "Illinois's Springfield"),
        ("Los Angeles", "Los Angeles"),
        ("Lents, Portland, Oregon", "Oregon's Lents, Portland"),
        # Parentheses win over a comma, inside them or outside.
        ("Ritz (Austin, Texas)", "Austin, Texas's Ritz"),
        ("Mill Hill (The Hale) railway station", "The Hale's Mill Hill  railway station"),
        ("Geneseo (village), New York", "village's Geneseo , New York"),
        # Nothing to move.
        ("(Iowa)", "(Iowa)"),
        ("Nowhere ()", "Nowhere ()"),
        ("Nowhere,", "Nowhere,"),
        ("  Rome ", "Rome"),
    ],
)
def test_the_region_moves_to_the_front(name: str, expected: str) -> None:
    assert names.region_first(name) == expected


@given(text)
def test_moving_the_region_leaves_no_outer_blanks(name: str) -> None:
    moved = names.region_first(name)
    assert moved == moved.strip()
    assert bool(moved) == bool(name.strip())


@given(text)
def test_moving_the_region_loses_no_letter(name: str) -> None:
    before = Counter(c for c in name if c.isalnum())
    after = Counter(c for c in names.region_first(name) if c.isalnum())
    added = after - before
    assert not before - after
    assert added in (Counter(), Counter("s"))


@given(text)
def test_a_rewritten_name_without_marks_stays(name: str) -> None:
    moved = names.region_first(name)
    if not set(moved) & set(",("):
        assert names.region_first(moved) == moved


@pytest.mark.parametrize(
    ("creator", "title", "expected"),
    [
        ("Stephen King", "It", "Stephen King's It"),
        ("The Kinks", "Lola", "The Kinks' Lola"),
        ("INXS", "Kick", "INXS's Kick"),  # only a small s, as in the authors' code
        (" Queen ", " Jealousy ", "Queen's Jealousy"),
    ],
)
def test_the_possessive_of_a_creator(creator: str, title: str, expected: str) -> None:
    assert names.creation(creator, title) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("BORDEN AVENUE BRIDGE", "Borden Avenue Bridge"),
        ("MUSEUM OF THE CITY OF NY", "Museum of the City of NY"),
        ("FDNY ENGINE 7 & LADDER 1", "FDNY Engine 7 & Ladder 1"),
        ("PS 112 AT LEFFERTS", "PS 112 at Lefferts"),
        ("THE  CLOISTERS ", "the Cloisters"),
        ("O'CONNOR-SMITH PARK", "O'connor-smith Park"),
    ],
)
def test_names_of_new_york_get_their_capitals(name: str, expected: str) -> None:
    assert names.nyc_case(name) == expected


@given(words)
def test_recasing_changes_only_case_and_can_be_repeated(parts: list[str]) -> None:
    name = " ".join(parts)
    cased = names.nyc_case(name)
    assert cased.upper() == name.upper()
    assert names.nyc_case(cased) == cased


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ('"Yesterday"', "Yesterday"),
        (' "Help!" ', "Help!"),
        ("Wait...", "Wait"),
        ('"S.O.S."', "S.O.S"),
        ("...", ""),
        ('"', ""),
        ("7", "7"),
    ],
)
def test_titles_lose_quotes_and_final_stops(title: str, expected: str) -> None:
    assert names.clean_title(title) == expected


@given(text)
def test_a_clean_title_has_no_outer_blanks(title: str) -> None:
    clean = names.clean_title(title)
    assert clean == clean.strip()
    assert clean in title


@given(text)
def test_a_headline_ends_with_one_added_stop(headline: str) -> None:
    ended = names.with_period(headline)
    assert ended.endswith(".")
    assert names.with_period(ended) == ended
    if not headline.strip().endswith("."):
        assert names.without_period(ended) == headline.strip()


def test_only_the_final_stop_goes() -> None:
    assert names.without_period("C.I.A. Chief Quits..") == "C.I.A. Chief Quits."
    assert names.without_period("No stop") == "No stop"
