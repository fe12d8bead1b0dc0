from __future__ import annotations

import datetime as dt
import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from okml.errors import DataError, ParameterError
from okml.space_time import entities
from okml.space_time.entities import EntitySet
from okml.space_time.entities.base import SPACE_TARGETS
from okml.space_time.entities.cities import load_cities
from okml.space_time.entities.columns import (
    fractional_year,
    group_split,
    unambiguous,
    uniform_split,
)
from okml.space_time.entities.events import load_events
from okml.space_time.entities.films import load_films
from okml.space_time.entities.people import load_people
from okml.space_time.entities.released import load_released, load_us_place_without_zip
from okml.space_time.entities.us_towns import load_us_towns
from okml.space_time.paper import SETS

FIXTURES = Path(__file__).parent / "fixtures"


def places(n: int, n_test: int) -> EntitySet:
    frame = pl.DataFrame(
        {
            "entity": [f"place {i}" for i in range(n)],
            "longitude": np.arange(n, dtype=float),
            "latitude": -np.arange(n, dtype=float),
            "is_test": [i < n_test for i in range(n)],
            "complex": [None if i % 2 else i for i in range(n)],
        }
    )
    return EntitySet("places", "space", frame, SPACE_TARGETS, None, None, "complex", "hand")


# ------------------------------------------------------------------------------ EntitySet


def test_targets_are_x_then_y_and_match_the_rows() -> None:
    found = places(5, 1)
    assert found.y().tolist() == [[float(i), -float(i)] for i in range(5)]
    assert found.test_mask().tolist() == [True, False, False, False, False]
    assert found.text()[3] == "place 3"
    assert len(found) == 5


@given(
    st.integers(2, 60).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n - 1))), st.data()
)
def test_a_sample_keeps_sides_order_and_share(sizes: tuple[int, int], data: st.DataObject) -> None:
    whole = places(*sizes)
    n = data.draw(st.integers(2, len(whole)))
    part = whole.sample(n, seed=7)
    numbers = [int(name.split()[1]) for name in part.text()]
    assert len(set(numbers)) == n
    assert numbers == sorted(numbers)
    assert part.test_mask().tolist() == [number < sizes[1] for number in numbers]
    assert 1 <= part.test_mask().sum() < n
    # Within one row of the share, or at the least that either side must keep.
    exact = n * sizes[1] / sizes[0]
    assert abs(part.test_mask().sum() - exact) <= 1


def test_a_sample_depends_on_its_seed_only() -> None:
    whole = places(100, 20)
    assert whole.sample(30, 1).text() == whole.sample(30, 1).text()
    assert whole.sample(30, 1).text() != whole.sample(30, 2).text()


def test_a_sample_cannot_be_larger_than_the_set_or_one_sided() -> None:
    with pytest.raises(ParameterError, match="has 5 entities; 6 were asked"):
        places(5, 1).sample(6, 0)
    with pytest.raises(ParameterError, match="a training and a test entity"):
        places(5, 0).sample(3, 0)
    with pytest.raises(ParameterError, match="0 were asked"):
        places(5, 1).sample(0, 0)


def test_a_filter_keeps_the_order() -> None:
    assert places(9, 2).filter(pl.col("longitude") > 6).text() == ["place 7", "place 8"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"entity": pl.lit("Rome ")}, "outer blanks"),
        ({"entity": pl.lit("")}, "are empty"),
        ({"latitude": pl.lit(None, pl.Float64)}, "must be finite"),
        ({"is_test": pl.lit("yes")}, "is_test must be"),
        ({"complex": pl.lit(1)}, "both sides of the split"),
    ],
)
def test_a_bad_frame_is_refused(change: dict[str, pl.Expr], message: str) -> None:
    good = places(5, 1)
    with pytest.raises(DataError, match=message):
        replace(good, frame=good.frame.with_columns(**change))


def test_a_missing_column_is_named() -> None:
    good = places(5, 1)
    with pytest.raises(DataError, match="lacks the columns longitude, complex"):
        replace(good, frame=good.frame.drop("longitude", "complex"))


# --------------------------------------------------------------------------------- splits


@given(st.integers(0, 3000), st.integers(0, 9))
def test_a_uniform_split_holds_out_a_fifth(n: int, seed: int) -> None:
    assert uniform_split(n, seed).sum() == n // 5


@given(st.lists(st.integers(0, 400), min_size=1, max_size=2000), st.integers(0, 9))
def test_a_group_split_cuts_no_group_and_takes_a_fifth_of_them(ids: list[int], seed: int) -> None:
    groups = pl.Series(ids)
    is_test = group_split(groups, seed)
    test, train = set(groups.filter(is_test)), set(groups.filter(~is_test))
    assert not test & train
    assert len(test) == len(set(ids)) // 5


def test_a_group_split_of_many_small_groups_holds_out_a_fifth_of_the_rows() -> None:
    rng = np.random.default_rng(0)
    groups = pl.Series(np.repeat(np.arange(5000), rng.integers(1, 8, 5000)))
    for seed in range(5):
        assert abs(group_split(groups, seed).mean() - 0.2) < 0.01


def test_rows_without_a_group_are_for_training() -> None:
    groups = pl.Series(["a", None, "b", None, "c", "d", "e"])
    is_test = group_split(groups, 0)
    assert is_test.sum() == 1
    assert not is_test[[1, 3]].any()


# --------------------------------------------------------------------- ambiguous names


def table(columns: str, *rows: tuple[object, ...]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=columns.split(), orient="row")


def test_a_shared_name_needs_over_twice_the_runner_up() -> None:
    towns = table(
        "name people",
        ("Exactly twice", 200),
        ("Exactly twice", 100),
        ("Dominant", 100),
        ("Dominant", 201),
        ("Dominant", 50),
        ("Alone", None),
        ("Unknown rival", 500),
        ("Unknown rival", None),
        ("Twins", 9),
        ("Twins", 9),
    )
    assert unambiguous(towns, "name", "people").rows() == [("Dominant", 201), ("Alone", None)]


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 50)), max_size=20))
def test_unambiguous_agrees_with_a_plain_loop(rows: list[tuple[str, int]]) -> None:
    expected = []
    for name, size in rows:
        rivals = sorted((other for key, other in rows if key == name), reverse=True)
        if len(rivals) == 1 or (size == rivals[0] and size > 2 * rivals[1]):
            expected.append((name, size))
    frame = pl.DataFrame(rows, schema={"name": pl.String, "size": pl.Int64}, orient="row")
    assert unambiguous(frame, "name", "size").rows() == expected


# --------------------------------------------------------- the paper's sets, released form


def test_world_places_carry_their_region_first() -> None:
    found = load_released("world_place", FIXTURES / "world_place.csv")
    assert found.text() == [
        "Caspian Sea",
        "Iowa's Dallas County",
        "Whistler's Green Lake",
        "St. Peter's Basilica",
        "Los Angeles",
    ]
    assert found.y()[0].tolist() == [50.6667, 41.6667]
    assert found.test_mask().tolist() == [False, True, False, False, False]
    assert (found.region, found.entity_type, found.unit) == ("country", "entity_type", "degrees")


def test_zip_codes_have_five_digits_and_can_be_left_out() -> None:
    found = load_released("us_place", FIXTURES / "us_place.csv")
    assert found.text() == ["New York", "Alta", "02138", "10001", "Fenway Park", "Riverside County"]
    without = load_us_place_without_zip(FIXTURES / "us_place.csv")
    assert without.text() == ["New York", "Alta", "Fenway Park", "Riverside County"]
    assert without.name == "us_place_without_zip"


def test_new_york_is_recased_and_lone_places_have_no_complex() -> None:
    found = load_released("nyc_place", FIXTURES / "nyc_place.csv")
    assert found.text()[1:3] == ["FDNY Engine 7", "Museum of the City"]
    assert found.frame["complexid"].to_list() == [None, None, 3378, 3378]
    assert found.frame["borough_name"].to_list() == ["Queens", "Manhattan", "Manhattan", None]


def test_works_are_dated_in_calendar_years() -> None:
    found = load_released("art", FIXTURES / "art.csv")
    assert found.text()[0] == "Stephen King's It"
    assert found.text()[4] == "The Kinks' Waterloo Sunset"
    assert found.frame["decade"].to_list() == [1980, 1970, 1980, 2000, 1970]
    # 1986-09-15 is 6,101 days after 1970-01-01.
    assert found.y()[0, 0] == pytest.approx(1970 + 6101 / 365.25)
    assert found.y()[4, 0] == 1970.0


def test_centuries_of_death_are_named_by_their_first_year() -> None:
    found = load_released("historical_figure", FIXTURES / "historical_figure.csv")
    assert found.y().ravel().tolist() == [-30, 1321, 1996]
    assert found.frame["death_century"].to_list() == [-100, 1300, 1900]
    assert found.frame["occupation"].to_list() == ["monarch", "poet", ""]


def test_headlines_end_with_a_stop_and_may_be_dated_to_the_second() -> None:
    found = load_released("headline", FIXTURES / "headline.csv")
    assert all(text.endswith(".") for text in found.text())
    days = (dt.date(2020, 7, 28) - dt.date(1970, 1, 1)).days
    assert found.y()[0, 0] == pytest.approx(1970 + days / 365.25)
    assert found.frame["year"].to_list() == [2020, 2010, 2015]


@given(st.dates(dt.date(1500, 1, 1), dt.date(2100, 12, 31)))
def test_a_fractional_year_is_the_calendar_year(date: dt.date) -> None:
    year = pl.DataFrame({"date": [date]}).select(fractional_year("date")).item()
    first, last = dt.date(date.year, 1, 1), dt.date(date.year, 12, 31)
    calendar = date.year + (date - first).days / ((last - first).days + 1)
    # A Gregorian year is 0.0075 days shorter than 365.25: 3.5 days in 470 years, and up to
    # a day for the phase of the leap years.
    assert year == pytest.approx(calendar, abs=4.6 / 365)


# ------------------------------------------------------------------- files that are not right


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_the_wrong_file_is_refused() -> None:
    with pytest.raises(DataError, match=r"art.csv lacks the columns name, entity_subtype, country"):
        load_released("world_place", FIXTURES / "art.csv")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (",1975-10-31,", ",31 Oct 1975,", "release_date of row 2 is '31 Oct 1975'"),
        (",song,False,", ",song,maybe,", "is_test of row 2 is 'maybe', which is no Boolean"),
        (",song,False,", ",song,,", "is_test of row 2 is 'None'"),
        ("9000000.0", "many", "page_views of row 2 is 'many', which is no Float64"),
        (",1975-10-31,", ",,", "from art.csv: release_date must be finite in every row; row 2"),
    ],
)
def test_a_bad_value_is_reported_with_its_row(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    text = (FIXTURES / "art.csv").read_text(encoding="utf-8")
    path = write(tmp_path / "art.csv", text.replace(old, new, 1))
    with pytest.raises(DataError, match=message):
        load_released("art", path)


def test_a_file_that_is_missing_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        load_released("art", tmp_path / "art.csv")
    (tmp_path / "art.csv").write_bytes(b"\xff\xfe\x00\x00,\x00")
    with pytest.raises(DataError, match=r"art\.csv"):
        load_released("art", tmp_path / "art.csv")


# -------------------------------------------------------------------------------- stand-ins


def test_cities_are_unambiguous_and_sorted_by_population() -> None:
    found = load_cities(FIXTURES / "geonames")
    # The American Paris is too small to be listed; no Birmingham is twice the other.
    assert found.text() == ["Tokyo", "Osaka", "Paris", "Dallas", "Lyon", "Anchorage"]
    assert found.frame["country"].to_list()[:4] == ["Japan", "Japan", "France", "United States"]
    assert found.y()[2].tolist() == [2.35, 48.85]
    assert found.test_mask().sum() == 1


@pytest.mark.parametrize("content", ["[]", "{}", '{"1": 3}', '[{"name": "Paris"}]'])
def test_a_table_of_cities_is_an_object_of_objects(tmp_path: Path, content: str) -> None:
    (tmp_path / "cities15000.json").write_text(content)
    with pytest.raises(DataError, match="no table of GeoNames"):
        load_cities(tmp_path)


def test_towns_and_counties_lie_at_the_mean_of_their_zip_codes() -> None:
    found = load_us_towns(FIXTURES / "zipcodes.csv")
    # Suffolk County is in two states with one ZIP code each, and is dropped.
    assert found.frame.group_by("entity_type").len().sort("entity_type").rows() == [
        ("city", 4),
        ("county", 2),
        ("zip", 5),
    ]
    york = found.text().index("New York")
    assert found.y()[york] == pytest.approx([-74.1, 40.6])
    assert {"00501", "New York County", "Orleans Parish"} <= set(found.text())
    assert set(found.frame["state_id"]) == {"NY", "LA", "MA"}


def test_people_have_full_names_and_credible_lives() -> None:
    found = load_people(FIXTURES / "data.noun")
    # Dropped: Vergil (no AD years), Johnson (dies before birth), Chaucer (before 1500), Troy.
    assert found.frame.select("entity", "occupation", "death_year", "death_century").rows() == [
        ("Alvar Aalto", "architect", 1976, 1900),
        ("Basho", "poet", 1694, 1600),
        ("Adam Smith", "architect", 1790, 1700),
        ("John Keats", "poet", 1821, 1800),
    ]


def test_events_lose_their_year_and_never_tell_another() -> None:
    found = load_events(FIXTURES / "calendar")
    assert found.text() == [
        "Castro expels Cuban President Batista.",
        "Canada and the United States agree on a plan to preserve Niagara Falls.",
        "Ford Motor Company is incorporated.",
        "Elvis Presley born in East Tupelo, Mississippi.",
        "Wolfgang Amadeus Mozart is born in Salzburg, Austria.",
        "Isaac Asimov born in Petrovichi, Russian SFSR.",
    ]
    assert found.frame["year"].to_list() == [1959, 1929, 1903, 1935, 1756, 1920]
    assert found.frame["topic"].to_list() == ["history"] * 3 + ["music"] * 2 + ["birthday"]
    days = (dt.date(1903, 6, 16) - dt.date(1970, 1, 1)).days
    assert found.y()[2, 0] == pytest.approx(1970 + days / 365.25)


@pytest.fixture
def films(tmp_path: Path) -> Path:
    path = tmp_path / "movies.db"
    rows = [
        (1, "Mulholland Drive", 2001, "Mystery, Thriller", "David Lynch"),
        (2, "Hamlet", 1948, "Drama", "Laurence Olivier"),
        (3, "HAMLET", 1996, "Drama", "Kenneth Branagh"),
        (4, "The Matrix", 1999, "Action", "Lana Wachowski, Lilly Wachowski"),
        (5, "Lost", 1950, "", ""),
        (6, "Dune", 1984, "", "David Lynch"),
        (7, "Gladiator", 2000, None, "Ridley Scotts"),
    ]
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE omdb (ID, Title, Year, Genre, Director)")
    connection.executemany("INSERT INTO omdb VALUES (?, ?, ?, ?, ?)", rows)
    connection.commit()
    connection.close()
    return path


def test_films_have_one_director_and_a_title_of_their_own(films: Path) -> None:
    found = load_films(films)
    assert found.text() == [
        "David Lynch's Mulholland Drive",
        "David Lynch's Dune",
        "Ridley Scotts' Gladiator",
    ]
    assert found.y().ravel().tolist() == [2001, 1984, 2000]
    assert found.frame["genre"].to_list() == ["Mystery", None, None]
    assert found.split_group == "creator"


@pytest.mark.parametrize(
    ("load", "file", "message"),
    [
        (load_films, "movies.db", "is not the database of films"),
        (load_people, "data.noun", "line 1 is no WordNet synset"),
        (load_us_towns, "zipcodes.csv", "has no rows"),
    ],
)
def test_a_damaged_stand_in_is_refused(tmp_path: Path, load, file: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load(write(tmp_path / file, "not what it should be\n"))
    with pytest.raises(DataError):
        load(tmp_path / "nowhere" / file)


def test_damaged_folders_of_stand_ins_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "cities15000.json", '{"1": ')
    with pytest.raises(DataError, match="cannot be read as JSON"):
        load_cities(tmp_path)
    write(tmp_path / "cities15000.json", "[1]")
    with pytest.raises(DataError, match="no table of GeoNames"):
        load_cities(tmp_path)
    write(tmp_path / "calendar.history", "01/01\tNothing dated\n")
    with pytest.raises(DataError, match="holds no dated events"):
        load_events(tmp_path)


# --------------------------------------------------------------------------------- registry


def test_an_unknown_set_is_named_with_the_known_ones() -> None:
    with pytest.raises(ParameterError, match=r"Did you mean 'world_place'.*") as error:
        entities.load("world_places")
    assert all(name in str(error.value) for name in entities.REGISTRY)


def test_every_entry_points_at_a_set_of_the_paper() -> None:
    assert {entry.paper_set for entry in entities.REGISTRY.values()} == set(SETS)
    assert all(entities.find(name).paper_set == name for name in SETS)
