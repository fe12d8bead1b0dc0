"""Places of the contiguous United States: the released set, and how it is built."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from scipy.spatial import KDTree

from okml.space_time.entities.base import SPACE_TARGETS, EntitySet
from okml.space_time.entities.filters import five_digits, unambiguous
from okml.space_time.entities.sources import RELEASE, released
from okml.space_time.entities.splits import uniform_split
from okml.space_time.entities.tables import read_csv

ROWS = 29_997  # of the released file; Table 1

OUTSIDE = ("AK", "HI", "PR", "VI", "GU", "AS", "MP")  # states and territories left out
MAX_LATITUDE = 50.0  # degrees; nothing contiguous lies further north
MIN_CITY_POPULATION = 500
MIN_ZIP_POPULATION = 10_000
MIN_DENSE_ZIP_POPULATION, MIN_ZIP_DENSITY = 2_000, 50.0  # or both; people per square mile

COLUMNS: dict[str, type[pl.DataType]] = {
    "name": pl.String,
    "latitude": pl.Float64,
    "longitude": pl.Float64,
    "state_id": pl.String,
    "state_name": pl.String,
    "population": pl.Float64,
    "timezone": pl.String,
    "entity_type": pl.String,
    "is_test": pl.Boolean,
}


def load_us_place(
    path: Path | None = None, rows: int | None = ROWS, *, include_zip: bool = True
) -> EntitySet:
    """Load the paper's USA set. Its names are read as they are, without moving the region.

    Args:
        path: A CSV of the released form; by default the released file itself.
        rows: How many rows it must have; None for a set of your own.
        include_zip: Whether to keep ZIP codes, two fifths of the set. Their digits are a
            geographic code, so the set should also be reported without them.

    Raises:
        DataError: If the file cannot be had or is not the expected one.
    """
    frame = read_csv(path or released("us_place"), COLUMNS, rows)
    is_zip = pl.col("entity_type") == "zip"
    # A spreadsheet that opened the file may have eaten the leading zeros.
    padded = five_digits("name")
    name = pl.col("name").str.strip_chars()
    places = EntitySet(
        name="us_place" if include_zip else "us_place_without_zip",
        kind="space",
        frame=frame.with_columns(entity=pl.when(is_zip).then(padded).otherwise(name)),
        targets=SPACE_TARGETS,
        region="state_id",
        entity_type="entity_type",
        split_group=None,
        source=RELEASE if path is None else path.name,
        unit="degrees",
    )
    return places if include_zip else places.filter(~is_zip)


def build_us_places(
    world: pl.DataFrame,
    cities: pl.DataFrame,
    counties: pl.DataFrame,
    zips: pl.DataFrame,
    colleges: pl.DataFrame,
    seed: int,
) -> pl.DataFrame:
    """Build a table of the released form (Table 1 and the authors' code).

    Args:
        world: World places of the released form; its American structures and natural places
            are taken over.
        cities: ``uscities.csv`` of simplemaps.
        counties: ``uscounties.csv`` of simplemaps.
        zips: ``uszips.csv`` of simplemaps.
        colleges: Columns ``universityLabel`` and ``coordinates``, "Point(lon lat)".
        seed: Of the random fifth that is held out.
    """
    cities, counties, zips = (_degrees(frame) for frame in (cities, counties, zips))
    known = ["longitude", "latitude", "state_id", "state_name", "timezone"]
    reference = pl.concat([cities.select(known), zips.select(known)])
    landmarks = world.filter(
        (pl.col("country") == "United_States") & (pl.col("entity_type") != "populated_place")
    )
    state = ["state_id", "state_name", "timezone"]
    parts = [
        _typed(unambiguous(_inside(cities), "city", "population"), "city", "city").filter(
            pl.col("population") > MIN_CITY_POPULATION
        ),
        _typed(_inside(zips), "zip", "zip").filter(_populous_zip()),
        _typed(
            unambiguous(
                _inside(_from_nearest(counties, reference, ["timezone"])),
                "county_full",
                "population",
            ),
            "county_full",
            "county",
        ),
        _inside(_from_nearest(landmarks, reference, state)),
        _typed(
            _inside(_from_nearest(_points(colleges), reference, state)),
            "universityLabel",
            "college",
        ),
    ]
    wanted = [*COLUMNS, "county_fips", "density", "entity_subtype", "page_views"]
    table = pl.concat(
        [part.select(name for name in wanted if name in part.columns) for part in parts],
        how="diagonal_relaxed",
    ).filter(pl.col("latitude") < MAX_LATITUDE)
    return table.with_columns(is_test=pl.Series(uniform_split(table.height, seed)))


def _degrees(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.rename({"lat": "latitude", "lng": "longitude"})


def _inside(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.filter(~pl.col("state_id").is_in(OUTSIDE))


def _typed(frame: pl.DataFrame, name: str, entity_type: str) -> pl.DataFrame:
    text = five_digits(name) if entity_type == "zip" else pl.col(name)
    return frame.with_columns(name=text, entity_type=pl.lit(entity_type))


def _populous_zip() -> pl.Expr:
    people, density = pl.col("population"), pl.col("density")
    return (people > MIN_ZIP_POPULATION) | (
        (people > MIN_DENSE_ZIP_POPULATION) & (density > MIN_ZIP_DENSITY)
    )


def _points(colleges: pl.DataFrame) -> pl.DataFrame:
    lon_lat = pl.col("coordinates").str.extract_groups(r"Point\((?<lon>\S+) (?<lat>\S+)\)")
    return colleges.with_columns(
        longitude=lon_lat.struct.field("lon").cast(pl.Float64),
        latitude=lon_lat.struct.field("lat").cast(pl.Float64),
    )


def _from_nearest(frame: pl.DataFrame, reference: pl.DataFrame, columns: list[str]) -> pl.DataFrame:
    """Take ``columns`` from the nearest city or ZIP code, by Euclidean distance in degrees."""
    tree = KDTree(reference.select(SPACE_TARGETS).to_numpy())
    _, rows = tree.query(frame.select(SPACE_TARGETS).to_numpy())
    return frame.with_columns(reference.select(columns)[rows])
