"""The filters of the paper on hand-made tables, with the right answers worked out by hand."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from okml.space_time.entities import art, world
from okml.space_time.entities.art import build_art
from okml.space_time.entities.figures import build_historical_figures
from okml.space_time.entities.filters import most_specific, total_page_views, unambiguous
from okml.space_time.entities.headlines import build_headlines
from okml.space_time.entities.nyc import build_nyc_places, split_complexes
from okml.space_time.entities.usa import build_us_places
from okml.space_time.entities.world import build_world_places

PAGE = "http://en.wikipedia.org/wiki/"


def table(columns: str, *rows: tuple[object, ...]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=columns.split(), orient="row")


# ------------------------------------------------------------------------------ shared filters


def test_page_views_count_three_years() -> None:
    monthly = table(
        "page month views",
        ("A", dt.date(2017, 12, 1), 1000),
        ("A", dt.date(2018, 1, 1), 10),
        ("A", dt.date(2020, 12, 1), 5),
        ("A", dt.date(2021, 1, 1), 1000),
        ("B", dt.date(2019, 6, 1), 7),
    )
    assert total_page_views(monthly).rows() == [("A", 15), ("B", 7)]


def test_the_rarest_type_says_most() -> None:
    listed = table(
        "name type",
        ("X", "Building"),
        ("X", "Museum"),
        ("Y", "Building"),
        ("Z", "Tower"),
        ("Z", "Museum"),
    )
    # Building 2, Museum 2, Tower 1: a tie for X goes to the first row.
    assert most_specific(listed).rows() == [("X", "Building"), ("Y", "Building"), ("Z", "Tower")]


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


# --------------------------------------------------------------------------------- the six sets


def test_world_places() -> None:
    columns = "name type country latitude longitude wikipedia has_thumbnail total_area population"
    dbo, dbr = "http://dbpedia.org/ontology/", "http://dbpedia.org/resource/"

    def row(name: str, kind: str, people: float | None = None) -> tuple[object, ...]:
        page = PAGE + name.replace(" ", "_")
        return (name, dbo + kind, dbr + "Italy", 45.0, 9.0, page, 1, None, people)

    # One bearer of "Building" more, so that "Museum" is the rarer type.
    structures = table(
        columns, row("Arena", "Building"), row("Uffizi", "Building"), row("Uffizi", "Museum")
    )
    towns = table(
        columns,
        row("Como", "City", 84_000.0),
        row("Typo", "City", 1e9),
        row("Nowhere", "City", None),
    )
    lakes = table(columns, row("Iseo", "Lake"), row("Pond", "Lake"), row("Unread", "Lake"))
    views = table(
        "page page_views",
        ("Arena", 5_001),
        ("Uffizi", 90_000),
        ("Como", 80_000),
        ("Typo", 80_000),
        ("Nowhere", 80_000),
        ("Iseo", 6_000),
        ("Pond", 5_000),
    )
    built = build_world_places(
        {"structure": structures, "populated_place": towns, "natural_place": lakes}, views, seed=0
    )
    assert built.select("name", "entity_subtype", "country", "entity_type").rows() == [
        ("Arena", "Building", "Italy", "structure"),
        ("Uffizi", "Museum", "Italy", "structure"),
        ("Como", "City", "Italy", "populated_place"),
        ("Iseo", "Lake", "Italy", "natural_place"),
    ]
    assert set(world.COLUMNS) <= set(built.columns)


def test_us_places() -> None:
    cities = table(
        "city state_id state_name lat lng population density timezone county_fips",
        ("Boston", "MA", "Massachusetts", 42.3, -71.0, 650_000, 9_000.0, "America/New_York", 25025),
        ("Boston", "NY", "New York", 42.6, -78.7, 8_000, 220.0, "America/New_York", 36029),
        ("Salem", "MA", "Massachusetts", 42.5, -70.9, 44_000, 5_000.0, "America/New_York", 25009),
        ("Salem", "OR", "Oregon", 44.9, -123.0, 80_000, 3_000.0, "America/Los_Angeles", 41047),
        ("Hamlet", "MA", "Massachusetts", 42.0, -72.0, 500, 10.0, "America/New_York", 25027),
        ("Juneau", "AK", "Alaska", 58.3, -134.4, 31_000, 11.0, "America/Juneau", 2110),
    )
    zips = table(
        "zip state_id state_name lat lng population density timezone county_fips",
        (2138, "MA", "Massachusetts", 42.4, -71.1, 36_000, 11_000.0, "America/New_York", 25017),
        (97301, "OR", "Oregon", 44.9, -123.0, 2_001, 51.0, "America/Los_Angeles", 41047),
        (97302, "OR", "Oregon", 44.8, -123.0, 2_001, 50.0, "America/Los_Angeles", 41047),
        (99801, "AK", "Alaska", 58.3, -134.4, 30_000, 9.0, "America/Juneau", 2110),
    )
    counties = table(
        "county_full state_id state_name lat lng population county_fips",
        ("Marion County", "OR", "Oregon", 44.9, -122.6, 345_000, 41047),
        ("Suffolk County", "MA", "Massachusetts", 42.3, -71.1, 790_000, 25025),
        ("Suffolk County", "NY", "New York", 40.9, -72.8, 1_500_000, 36103),
    )
    colleges = table("universityLabel coordinates", ("Willamette", "Point(-123.03 44.93)"))
    places = table(
        "name country latitude longitude entity_type entity_subtype page_views population",
        ("Fenway Park", "United_States", 42.3, -71.1, "structure", "Stadium", 9e5, None),
        ("Boston", "United_States", 42.3, -71.1, "populated_place", "City", 9e6, 650_000.0),
        ("Windsor Castle", "United_Kingdom", 51.5, -0.6, "structure", "Castle", 9e5, None),
        ("Mendenhall", "United_States", 58.4, -134.5, "natural_place", "Glacier", 9e4, None),
        ("Lake of the Woods", "United_States", 50.1, -95.0, "natural_place", "Lake", 9e4, None),
    )
    built = build_us_places(places, cities, counties, zips, colleges, seed=0)
    assert built.select("name", "entity_type", "state_id", "timezone").rows() == [
        ("Boston", "city", "MA", "America/New_York"),
        ("02138", "zip", "MA", "America/New_York"),
        ("97301", "zip", "OR", "America/Los_Angeles"),
        ("Marion County", "county", "OR", "America/Los_Angeles"),
        ("Fenway Park", "structure", "MA", "America/New_York"),
        ("Willamette", "college", "OR", "America/Los_Angeles"),
    ]
    assert built.row(5, named=True)["longitude"] == -123.03


def test_nyc_places() -> None:
    def row(name: str, cid: int, kind: int = 4, borough: int = 1) -> tuple[object, ...]:
        return ("POINT (-73.97 40.78)", name, cid, kind, borough)

    complexes = [row(f"BUILDING {i:03}", 1 + i // 4) for i in range(40)]
    lone = [row(f"PLAYGROUND {i:03}", 0, 4, 2) for i in range(60)]
    misspelt = "RED BOUY 12"  # codespell:ignore bouy
    noise = [row(name, 0) for name in ("BUOY NUMBER 7", misspelt, "SHORTER", "EIGHTLET")]
    points = table("the_geom NAME COMPLEXID FACILITY_T BOROUGH", *complexes, *lone, *noise)
    built = build_nyc_places(points, seed=3)
    assert built.height == 101
    assert "EIGHTLET" in built["name"]
    assert built.row(0) == (
        "BUILDING 000",
        1,
        -73.97,
        40.78,
        "Manhattan",
        "Recreational Facility",
        built["is_test"][0],
    )
    # 2 of 10 complexes are out with 4 buildings each, and lone places fill up to a fifth.
    by_complex = built.filter(pl.col("complexid") > 0).group_by("complexid").agg("is_test")
    assert all(len(set(sides)) == 1 for sides in by_complex["is_test"])
    assert built.filter(pl.col("complexid") > 0)["is_test"].sum() == 8
    assert built["is_test"].sum() == 20


def test_complexes_are_split_by_number_not_by_rows() -> None:
    train, test = split_complexes(pl.Series([0, 5, 5, 5, 9, 0, 7, 3, 1]))
    assert sorted(train + test) == [1, 3, 5, 7, 9]
    assert len(test) == 1


def test_historical_figures() -> None:
    def row(i: int, year: int | None, occupation: str | None = "Poet") -> tuple[object, ...]:
        return (f"Q{i}", f"name {i}", "", "", "", occupation, None, year, "", None)

    columns = [
        "Id", "Name", "Short description", "Gender", "Country", "Occupation",
        "Birth year", "Death year", "Manner of death", "Age of death",
    ]  # fmt: skip
    crowd = [row(i, 1910 + i % 10) for i in range(360)]
    others = [
        row(900, 1920, None),
        row(901, -5),
        row(902, -1000),
        row(903, -999),
        row(904, None),
        row(905, 2019),
    ]
    built = build_historical_figures(
        pl.DataFrame([*crowd, *others], schema=columns, orient="row", infer_schema_length=None), 0
    )
    assert built.filter(pl.col("death_year").is_between(1910, 1919))["name"].to_list() == [
        f"name {i}" for i in range(350)
    ]
    rest = built.filter(~pl.col("death_year").is_between(1910, 1919))
    assert rest.select("name", "occupation", "death_century").rows() == [
        ("name 900", "", 1900),
        ("name 901", "poet", -100),
        ("name 903", "poet", -1000),
        ("name 905", "poet", 2000),
    ]
    assert built["is_test"].sum() == 354 // 5


def test_art() -> None:
    columns = "title creator release_date wikipedia"
    songs = table(
        columns,
        ('"Yesterday"', "The Beatles", "1966-03-04", PAGE + "Yesterday"),
        ('"Yesterday"', "The Beatles", "1965-09-13", PAGE + "Yesterday"),
        ("Old Song", "Someone", "1949-12-31", PAGE + "Old"),
        ("New Song", "Someone", "1950-01-01", PAGE + "New"),
        ("Rare", "Someone", "1970-01-01", PAGE + "Rare"),
        ("X.", "Someone", "1970-01-01", PAGE + "X"),
        (None, "Someone", "1970-01-01", PAGE + "New"),
        ("Unsigned", None, "1970-01-01", PAGE + "New"),
    )
    books = table(columns, ("It", "Stephen King", "1986-09-15", PAGE + "It_(novel)"))
    views = table(
        "page page_views",
        ("Yesterday", 7_000),
        ("Old", 90_000),
        ("New", 80_000),
        ("Rare", 5_000),
        ("X", 9_000),
        ("It_(novel)", 6_000),
    )
    built = build_art({"book": books, "song": songs}, views, seed=0)
    assert built.select("title", "creator", "release_date", "decade", "entity_type").rows() == [
        ("It", "Stephen King", dt.date(1986, 9, 15), 1980, "book"),
        ("New Song", "Someone", dt.date(1950, 1, 1), 1950, "song"),
        ("Yesterday", "The Beatles", dt.date(1965, 9, 13), 1960, "song"),
    ]
    assert set(art.COLUMNS) <= set(built.columns)


def test_art_is_split_by_creator() -> None:
    works = table(
        "title creator release_date wikipedia",
        *[(f"Song {i}", f"Band {i % 50}", "1990-05-05", PAGE + "P") for i in range(200)],
    )
    built = build_art({"song": works}, table("page page_views", ("P", 10_000)), seed=1)
    sides = built.group_by("creator").agg(pl.col("is_test").n_unique())
    assert sides["is_test"].to_list() == [1] * 50
    assert built["is_test"].sum() == 40


def test_headlines() -> None:
    columns = "headline type news_desk section print_page print_section word_count pub_date year"

    def row(headline: str | None, **changes: object) -> tuple[object, ...]:
        usual = {
            "headline": headline,
            "type": "article",
            "news_desk": "National",
            "section": "U.S.",
            "print_page": "10",
            "print_section": "A",
            "word_count": 900,
            "pub_date": "2010-01-01",
            "year": 2010,
        }
        return tuple((usual | changes).values())

    articles = table(
        columns,
        row("Kept on Page Ten"),
        row("Too Far Back", print_page="11"),
        row("Page of the Web", print_page="A10"),
        row("Obama Abroad", news_desk="Foreign", section="World", print_page="5"),
        row("Abroad and Too Far Back", news_desk="Foreign", section="World", print_page="6"),
        row("Foreign Desk, Home Section", news_desk="Foreign"),
        row("A Poet Dies", news_desk="Obits", section="Books"),
        row("Who Won?"),
        row("It Has a Stop."),
        row("A Film", type="multimedia"),
        row("Sports", news_desk="Sports", section="Sports"),
        row("Unsigned", word_count=None),
    )
    pages = pl.col("print_page").cast(pl.Float64, strict=False)
    second = table(columns, row("Floats Happen", year=2011)).with_columns(print_page=pages)
    built = build_headlines([articles, second], seed=0)
    assert built["headline"].to_list() == [
        "Kept on Page Ten.",
        "Obama Abroad.",
        "A Poet Dies.",
        "Floats Happen.",
    ]
    assert built["is_obama"].to_list() == [False, True, False, False]
    assert built["year"].to_list() == [2010, 2010, 2010, 2011]


@pytest.mark.parametrize("query", [world.DBPEDIA_QUERY, art.DBPEDIA_QUERY])
def test_queries_are_templates_with_balanced_braces(query: str) -> None:
    filled = query.format(place_class="P", work_class="W", role="author", offset=5_000)
    assert "OFFSET 5000" in filled
    assert filled.count("{") == filled.count("}") > 0
    assert "{{" not in filled
